//! What the classes are called.

use std::path::Path;

/// Fashion-MNIST and MNIST have the same files: the folder's name tells which it is. The digits of MNIST
/// need no names.
pub fn class_names(folder: &Path) -> &'static [&'static str] {
    #[rustfmt::skip]
    const FASHION: &[&str] = &[
        "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat",
        "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
    ];
    match folder.to_string_lossy().to_lowercase().contains("fashion") {
        true => FASHION,
        false => &[],
    }
}
