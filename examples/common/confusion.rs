//! Which class was taken for which.

use std::fmt;
use std::path::Path;

use wgpu_cnn::Target;

use crate::CLASSES;

/// Fashion-MNIST and MNIST have the same files: the folder's name tells which it is.
pub fn class_names(folder: &Path) -> [&'static str; CLASSES] {
    #[rustfmt::skip]
    const FASHION: [&str; CLASSES] = [
        "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat",
        "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
    ];
    if folder.to_string_lossy().to_lowercase().contains("fashion") {
        FASHION
    } else {
        [""; CLASSES]
    }
}

/// A confusion matrix: how many images of each class were given each answer.
pub struct Confusion {
    /// `counts[actual][answer]`.
    counts: [[usize; CLASSES]; CLASSES],
    names: [&'static str; CLASSES],
}

impl Confusion {
    pub fn new(names: [&'static str; CLASSES]) -> Self {
        Self {
            counts: [[0; CLASSES]; CLASSES],
            names,
        }
    }

    /// Counts the answers to a batch: `logits` of shape (N, classes) against `labels`, shape (N).
    pub fn add(&mut self, logits: &[f32], labels: &Target) {
        let Target::Labels(labels) = labels else {
            return;
        };
        for (logits, &label) in logits.chunks_exact(CLASSES).zip(labels) {
            let answer = (0..CLASSES).max_by(|&a, &b| logits[a].total_cmp(&logits[b]));
            self.counts[label as usize][answer.unwrap_or_default()] += 1;
        }
    }

    /// The share of right answers, in percent.
    pub fn accuracy(&self) -> f64 {
        let right: usize = (0..CLASSES).map(|class| self.counts[class][class]).sum();
        percent(right, self.counts.iter().flatten().sum())
    }
}

fn percent(part: usize, whole: usize) -> f64 {
    100.0 * part as f64 / whole.max(1) as f64
}

impl fmt::Display for Confusion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:16}answer", "")?;
        write!(f, "{:<14}", "actual class")?;
        for answer in 0..CLASSES {
            write!(f, "{answer:>6}")?;
        }
        writeln!(f, "{:>9}", "right")?;
        for (class, (row, name)) in self.counts.iter().zip(self.names).enumerate() {
            write!(f, "{class} {name:<12}")?;
            for count in row {
                write!(f, "{count:>6}")?;
            }
            writeln!(f, "{:>7.1} %", percent(row[class], row.iter().sum()))?;
        }
        Ok(())
    }
}
