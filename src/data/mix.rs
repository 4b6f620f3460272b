//! Batches whose examples are mixed with each other: mixup and cutmix.

use super::array::MOST;
use super::random::Random;
use super::task::Batch;
use crate::op::Target;
use crate::shape::elements;
use crate::{Error, Result};

/// Which of the two, with the parameter of its distribution; where both, each batch gets one of them.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Mix {
    mixup: Option<f64>,
    cutmix: Option<f64>,
    /// [`mixed`], which a program that asks for neither has not.
    mixed: Option<Mixed>,
}

type Mixed = fn(Mix, &mut Batch, usize, &mut Random) -> Result<()>;

impl Mix {
    pub fn mixup(self, alpha: f64) -> Self {
        Self {
            mixup: Some(alpha),
            mixed: Some(mixed),
            ..self
        }
    }

    pub fn cutmix(self, alpha: f64) -> Self {
        Self {
            cutmix: Some(alpha),
            mixed: Some(mixed),
            ..self
        }
    }

    pub fn is_none(self) -> bool {
        self.mixup.is_none() && self.cutmix.is_none()
    }

    /// Refuses parameters that no distribution has.
    pub fn check(self) -> Result<()> {
        for (name, alpha) in [("mixup", self.mixup), ("cutmix", self.cutmix)] {
            if let Some(alpha) = alpha.filter(|alpha| !(*alpha > 0.0 && *alpha <= 1e6)) {
                let reason = format!("the parameter {alpha} is not above 0 and up to 1e6");
                return Err(Error::argument(name, reason));
            }
        }
        Ok(())
    }

    /// Mixes each example of a batch with the one before it, the first with the last, as torchvision does.
    pub fn apply(self, batch: &mut Batch, classes: usize, random: &mut Random) -> Result<()> {
        match self.mixed {
            Some(mixed) => mixed(self, batch, classes, random),
            None => Ok(()),
        }
    }
}

fn mixed(mix: Mix, batch: &mut Batch, classes: usize, random: &mut Random) -> Result<()> {
    let share = match (mix.mixup, mix.cutmix) {
        (None, None) => return Ok(()),
        (Some(alpha), None) => mixup(batch, random.beta(alpha)),
        (None, Some(alpha)) => cutmix(batch, alpha, random)?,
        (Some(alpha), Some(_)) if random.flag(0.5) => mixup(batch, random.beta(alpha)),
        (Some(_), Some(alpha)) => cutmix(batch, alpha, random)?,
    };
    let mut values = probabilities(&batch.targets, batch.len(), classes)?;
    blend(&mut values, batch.len(), share);
    batch.targets = Target::Values(values);
    Ok(())
}

/// `share` times each example plus `1 - share` times the one before it (Zhang et al. 2018).
fn mixup(batch: &mut Batch, share: f64) -> f64 {
    let count = batch.len();
    blend(&mut batch.images, count, share);
    share
}

fn blend(values: &mut [f32], count: usize, share: f64) {
    let each = values.len() / count.max(1);
    let (own, other) = (share as f32, (1.0 - share) as f32);
    let last = values[values.len() - each..].to_vec();
    for at in (0..count).rev() {
        let (before, rest) = values.split_at_mut(at * each);
        let previous = match at {
            0 => &last[..],
            _ => &before[(at - 1) * each..],
        };
        for (value, &previous) in rest[..each].iter_mut().zip(previous) {
            *value = previous * other + *value * own;
        }
    }
}

/// A random rectangle of the example before in the place of each one's own (Yun et al. 2019). Gives the
/// share that is left of it.
fn cutmix(batch: &mut Batch, alpha: f64, random: &mut Random) -> Result<f64> {
    let [_, _, height, width] = batch.shape[..] else {
        return Err(Error::shape("cutmix", "images [N, C, H, W]", &batch.shape));
    };
    let half = 0.5 * libm::sqrt(1.0 - random.beta(alpha));
    let mut side = |extent: usize| {
        let (centre, half) = (random.below(extent), (half * extent as f64) as usize);
        centre.saturating_sub(half)..(centre + half).min(extent)
    };
    let (columns, rows) = (side(width), side(height));
    let each = batch.images.len() / batch.len();
    let last = batch.images[batch.images.len() - each..].to_vec();
    for at in (0..batch.len()).rev() {
        let (before, rest) = batch.images.split_at_mut(at * each);
        let previous = match at {
            0 => &last[..],
            _ => &before[(at - 1) * each..],
        };
        let planes = rest[..each].chunks_exact_mut(height * width);
        for (plane, previous) in planes.zip(previous.chunks_exact(height * width)) {
            for row in rows.clone() {
                let range = row * width + columns.start..row * width + columns.end;
                plane[range.clone()].copy_from_slice(&previous[range]);
            }
        }
    }
    let cut = (rows.len() * columns.len()) as f64;
    Ok(1.0 - cut / (height as f64 * width as f64))
}

/// A probability for each class of each example.
fn probabilities(targets: &Target, count: usize, classes: usize) -> Result<Vec<f32>> {
    let labels = match targets {
        Target::Values(values) => return Ok(values.clone()),
        Target::Labels(labels) if labels.len() == count => labels,
        Target::Labels(_) | Target::WideLabels(_) => {
            let reason = "only a class for each example, or values, can be mixed";
            return Err(Error::argument("targets", reason));
        }
    };
    if elements(&[count, classes]) > MOST {
        let reason = format!("{classes} for {count} examples are more than {MOST} probabilities");
        return Err(Error::argument("classes", reason));
    }
    let mut values = vec![0.0; count * classes];
    for (row, &label) in values.chunks_exact_mut(classes.max(1)).zip(labels) {
        let Some(value) = row.get_mut(label as usize) else {
            let reason = format!("the label {label}, of {classes} classes");
            return Err(Error::argument("targets", reason));
        };
        *value = 1.0;
    }
    Ok(values)
}
