//! CIFAR-10 and CIFAR-100 in their binary format.

use std::path::Path;

use super::array::Array;
use super::memory::{Memory, Split};
use crate::{Error, Result, file};

/// Bytes of an image, `(3, 32, 32)`.
const PIXELS: usize = 3 * 32 * 32;

/// One of the two data sets.
struct Format {
    /// Bytes of labels before each image; the last of them is the class.
    labels: usize,
    classes: usize,
    training: &'static [&'static str],
    test: &'static [&'static str],
    names: &'static str,
}

const CIFAR_10: Format = Format {
    labels: 1,
    classes: 10,
    training: &[
        "data_batch_1.bin",
        "data_batch_2.bin",
        "data_batch_3.bin",
        "data_batch_4.bin",
        "data_batch_5.bin",
    ],
    test: &["test_batch.bin"],
    names: "batches.meta.txt",
};

const CIFAR_100: Format = Format {
    labels: 2,
    classes: 100,
    training: &["train.bin"],
    test: &["test.bin"],
    names: "fine_label_names.txt",
};

impl Memory {
    /// The images in the bytes of one of CIFAR-10's binary files: examples `(3, 32, 32)`, ten classes by
    /// their numbers.
    ///
    /// # Errors
    /// [`Error::Argument`] for bytes that are no such file.
    pub fn cifar10(bytes: &[u8]) -> Result<Self> {
        CIFAR_10.one(bytes)
    }

    /// The images in the bytes of one of CIFAR-100's binary files, with the hundred fine classes.
    ///
    /// # Errors
    /// As [`cifar10`](Self::cifar10).
    pub fn cifar100(bytes: &[u8]) -> Result<Self> {
        CIFAR_100.one(bytes)
    }

    /// The training or the test images in the folder `cifar-10-batches-bin`, with the classes' names where
    /// `batches.meta.txt` is beside them.
    ///
    /// # Errors
    /// [`Error::File`], which names the file.
    pub fn read_cifar10(folder: impl AsRef<Path>, split: Split) -> Result<Self> {
        CIFAR_10.read(folder.as_ref(), split)
    }

    /// The training or the test images in the folder `cifar-100-binary`, with the names of the fine classes
    /// where `fine_label_names.txt` is beside them.
    ///
    /// # Errors
    /// [`Error::File`], which names the file.
    pub fn read_cifar100(folder: impl AsRef<Path>, split: Split) -> Result<Self> {
        CIFAR_100.read(folder.as_ref(), split)
    }
}

impl Format {
    fn one(&self, bytes: &[u8]) -> Result<Memory> {
        let (mut pixels, mut labels) = (Vec::new(), Vec::new());
        let parsed = self.parse(bytes, &mut pixels, &mut labels);
        parsed.map_err(|reason| Error::argument("CIFAR", reason))?;
        self.memory(pixels, labels, None)
    }

    fn read(&self, folder: &Path, split: Split) -> Result<Memory> {
        let files = match split {
            Split::Train => self.training,
            Split::Test => self.test,
        };
        let (mut pixels, mut labels) = (Vec::new(), Vec::new());
        for name in files {
            let path = folder.join(name);
            let bytes = file::read(&path).map_err(|error| Error::file(&path, error))?;
            let parsed = self.parse(&bytes, &mut pixels, &mut labels);
            parsed.map_err(|reason| Error::file(&path, reason))?;
        }
        self.memory(pixels, labels, self.names(folder)?)
    }

    /// Appends the images of a file.
    fn parse(
        &self,
        bytes: &[u8],
        pixels: &mut Vec<u8>,
        labels: &mut Vec<u8>,
    ) -> std::result::Result<(), String> {
        let record = self.labels + PIXELS;
        if bytes.is_empty() || !bytes.len().is_multiple_of(record) {
            let got = bytes.len();
            return Err(format!(
                "{got} bytes, which are no whole records of {record}"
            ));
        }
        for (at, record) in bytes.chunks_exact(record).enumerate() {
            let (before, image) = record.split_at(self.labels);
            let label = before[self.labels - 1];
            if usize::from(label) >= self.classes {
                let classes = self.classes;
                return Err(format!(
                    "image {at} has the label {label}, of {classes} classes"
                ));
            }
            labels.push(label);
            pixels.extend_from_slice(image);
        }
        Ok(())
    }

    fn memory(
        &self,
        pixels: Vec<u8>,
        labels: Vec<u8>,
        names: Option<Vec<String>>,
    ) -> Result<Memory> {
        let images = Array::new([labels.len(), 3, 32, 32], pixels)?;
        let numbers = || (0..self.classes).map(|class| class.to_string()).collect();
        Ok(Memory::new(images, labels)?.class_names(names.unwrap_or_else(numbers)))
    }

    /// The classes' names, a line each, if they are there.
    fn names(&self, folder: &Path) -> Result<Option<Vec<String>>> {
        let path = folder.join(self.names);
        if !path.exists() {
            return Ok(None);
        }
        let bytes = file::read(&path).map_err(|error| Error::file(&path, error))?;
        let text = String::from_utf8_lossy(&bytes);
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        let names: Vec<String> = lines.map(String::from).collect();
        match names.len() == self.classes {
            true => Ok(Some(names)),
            false => {
                let reason = format!("{} names of {} classes", names.len(), self.classes);
                Err(Error::file(&path, reason))
            }
        }
    }
}
