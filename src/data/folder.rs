//! Folders of images, one folder a class.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};

use super::{Array, Colour, Dataset, Example};
use crate::op::Target;
use crate::{Error, Result};

/// Extensions of the files that are read, in small letters.
const EXTENSIONS: [&str; 5] = ["png", "jpg", "jpeg", "bmp", "webp"];

/// Images in folders, one folder a class: `photos/cat/1.jpg`, `photos/dog/a/2.png`. Classes are numbered in the
/// order of their names, and images in that of their folders and names, as in torchvision's `ImageFolder`; names
/// are compared byte by byte. Files with other extensions than `png`, `jpg`, `jpeg`, `bmp` and `webp` are passed
/// over. An image is read and decoded when it is asked for.
///
/// ```no_run
/// use wgpu_cnn::data::{Dataset, ImageFolder};
/// let photos = ImageFolder::open("photos")?;
/// println!("{} images of {:?}", photos.len(), photos.classes());
/// # Ok::<(), wgpu_cnn::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageFolder {
    colour: Colour,
    classes: Vec<String>,
    /// Each image and its class.
    files: Vec<(PathBuf, u32)>,
}

impl ImageFolder {
    /// Looks for the images in a folder. Links are followed.
    ///
    /// # Errors
    /// [`Error::File`] where a folder cannot be read or lies within itself, and for a class without images or
    /// with a name that is not in UTF-8.
    pub fn open(folder: impl AsRef<Path>) -> Result<Self> {
        let folder = folder.as_ref();
        let (mut classes, mut files) = (Vec::new(), Vec::new());
        for (name, path) in sorted(folder)? {
            if !path.is_dir() {
                continue;
            }
            let Ok(name) = name.into_string() else {
                return Err(Error::file(&path, "the name of a class is not in UTF-8"));
            };
            let mut found = Vec::new();
            walk(&path, &mut Vec::new(), &mut found)?;
            if found.is_empty() {
                return Err(Error::file(&path, "holds no images, so the class has none"));
            }
            found.sort_by(|a, b| key(a).cmp(&key(b)));
            let class = classes.len() as u32;
            files.extend(found.into_iter().map(|path| (path, class)));
            classes.push(name);
        }
        if classes.is_empty() {
            return Err(Error::file(folder, "holds no folders, one for each class"));
        }
        Ok(Self {
            colour: Colour::default(),
            classes,
            files,
        })
    }

    /// Sets what images are read as. Default [`Colour::Rgb`].
    pub fn colour(mut self, colour: Colour) -> Self {
        self.colour = colour;
        self
    }

    /// The file of an image, and its class.
    pub fn file(&self, index: usize) -> Option<(&Path, u32)> {
        let (path, class) = self.files.get(index)?;
        Some((path, *class))
    }
}

impl Dataset for ImageFolder {
    fn len(&self) -> usize {
        self.files.len()
    }

    fn get(&self, index: usize) -> Result<Example> {
        let Some((path, class)) = self.file(index) else {
            let reason = format!("{index} of {} images", self.len());
            return Err(Error::argument("index", reason));
        };
        Ok(Example {
            input: Array::read_image(path, self.colour)?,
            target: Target::Labels(vec![class]),
        })
    }

    fn classes(&self) -> &[String] {
        &self.classes
    }
}

/// What images are sorted by: the text of the folder's path, then the name.
fn key(file: &Path) -> (Option<&OsStr>, Option<&OsStr>) {
    (file.parent().map(Path::as_os_str), file.file_name())
}

/// What is in a folder, in the order of names.
fn sorted(folder: &Path) -> Result<Vec<(OsString, PathBuf)>> {
    let entries = fs::read_dir(folder).map_err(|error| Error::file(folder, error))?;
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|error| Error::file(folder, error))?;
        found.push((entry.file_name(), entry.path()));
    }
    found.sort();
    Ok(found)
}

/// The images in a folder and in the folders in it. `within` are the folders on the way here.
fn walk(folder: &Path, within: &mut Vec<PathBuf>, found: &mut Vec<PathBuf>) -> Result<()> {
    let real = fs::canonicalize(folder).map_err(|error| Error::file(folder, error))?;
    if within.contains(&real) {
        return Err(Error::file(folder, "lies within itself, by a link"));
    }
    within.push(real);
    for (_, path) in sorted(folder)? {
        let extension = path
            .extension()
            .map(|extension| extension.to_ascii_lowercase());
        if path.is_dir() {
            walk(&path, within, found)?;
        } else if extension
            .is_some_and(|extension| EXTENSIONS.iter().any(|&known| extension == known))
        {
            found.push(path);
        }
    }
    within.pop();
    Ok(())
}
