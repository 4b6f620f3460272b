//! The module `data`: files, transforms and loaders, held to what Pillow, torchvision and NumPy make of the same
//! files ([`make.py`](make.py)), and to what they promise about order, threads and damage.

mod files;
mod folder;
mod images;
mod loader;
mod mixing;
mod numpy;
mod shard;
mod transforms;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use wgpu_cnn::data::{Array, Values};

/// A file of this folder.
fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data")
        .join(name)
}

/// An array of `expected.npz`.
fn expected(name: &str) -> &'static Array {
    static ALL: OnceLock<BTreeMap<String, Array>> = OnceLock::new();
    let all = ALL.get_or_init(|| {
        let arrays = Array::read_npz(path("expected.npz")).unwrap();
        arrays.into_iter().collect()
    });
    all.get(name)
        .unwrap_or_else(|| panic!("{name} is not expected"))
}

/// The bytes of an array.
fn bytes(array: &Array) -> &[u8] {
    match array.values() {
        Values::Bytes(bytes) => bytes,
        other => panic!("no bytes: {other:?}"),
    }
}

/// A folder that is removed in the end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let name = format!("wgpu-cnn-data-{}-{name}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    /// Writes a file, with the folders on the way to it.
    fn write(&self, name: &str, contents: &[u8]) -> PathBuf {
        let path = self.0.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, contents).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
