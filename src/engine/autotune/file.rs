//! What was measured, as a file: JSON that a person can read and edit.
//!
//! ```json
//! {
//!   "wgpu-cnn 0.1.0, llvmpipe (LLVM 15.0.6, 256 bits), vulkan, Mesa 22.3.6": {
//!     "matmul 64x1024 * 1024x128^T": {
//!       "core": "subgroup",
//!       "milliseconds": { "subgroup": 0.91, "tiled-32": 4.3 }
//!     }
//!   }
//! }
//! ```

use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use super::Timing;
use crate::gpu::strategy::{Choices, Core};
use crate::{Error, Gpu, Result, file};

/// The file of choices where the user names none.
pub(crate) fn default_path() -> Result<PathBuf> {
    let variable = |name: &str| {
        let value = std::env::var_os(name).filter(|value| !value.is_empty());
        value.map(PathBuf::from)
    };
    let home = |folder: &str| std::env::home_dir().map(|home| home.join(folder));
    let folder = if cfg!(windows) {
        variable("LOCALAPPDATA")
    } else if cfg!(target_os = "macos") {
        home("Library/Caches")
    } else {
        variable("XDG_CACHE_HOME").or_else(|| home(".cache"))
    };
    let missing = || Error::argument("autotune", "finds no cache folder; name a file instead");
    Ok(folder.ok_or_else(missing)?.join("wgpu-cnn/autotune.json"))
}

/// The file's contents: an object by adapter, of objects by work.
pub(super) struct ChoicesFile {
    path: PathBuf,
    adapter: String,
    contents: Map<String, Value>,
}

impl ChoicesFile {
    /// Reads the file, if there is one.
    pub(super) fn read(path: &Path, gpu: &Gpu) -> Result<Self> {
        let contents = match std::fs::read(path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|e| Error::file(path, e))?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Map::new(),
            Err(error) => return Err(Error::file(path, error)),
        };
        Ok(Self {
            path: path.to_owned(),
            adapter: adapter(gpu),
            contents,
        })
    }

    /// The choices for this adapter.
    pub(super) fn choices(&self) -> Result<Choices> {
        let mut choices = Choices::new();
        let Some(entries) = self.contents.get(&self.adapter) else {
            return Ok(choices);
        };
        let entries = entries.as_object();
        let entries = entries.ok_or_else(|| self.error(&self.adapter, "an object"))?;
        for (work, entry) in entries {
            let core = entry.get("core").and_then(Value::as_str);
            let core = core.and_then(Core::named);
            let core = core.ok_or_else(|| self.error(work, "an object with the name of a core"))?;
            choices.insert(work.clone(), core);
        }
        Ok(choices)
    }

    fn error(&self, what: &str, expected: &str) -> Error {
        Error::file(&self.path, format!("{what:?} should be {expected}"))
    }

    /// Adds what was measured, the fastest first.
    pub(super) fn insert(&mut self, work: String, timings: &[Timing]) -> Result<()> {
        let empty = || Value::Object(Map::new());
        let entries = self.contents.entry(&self.adapter).or_insert_with(empty);
        let times: Map<String, Value> = timings
            .iter()
            .map(|timing| {
                let microseconds = (timing.seconds * 1e6).round();
                (timing.core.name().into(), json!(microseconds / 1e3))
            })
            .collect();
        if let (Some(entries), Some(best)) = (entries.as_object_mut(), timings.first()) {
            let entry = json!({ "core": best.core.name(), "milliseconds": times });
            entries.insert(work, entry);
        }
        self.write()
    }

    fn write(&self) -> Result<()> {
        if let Some(folder) = self.path.parent() {
            std::fs::create_dir_all(folder).map_err(|e| Error::file(&self.path, e))?;
        }
        let text = serde_json::to_string_pretty(&self.contents);
        let text = text.map_err(|e| Error::file(&self.path, e))? + "\n";
        file::replace(&self.path, text.as_bytes())
    }
}

/// What measurements are valid for: these kernels, on this adapter, with this driver.
fn adapter(gpu: &Gpu) -> String {
    format!(
        "wgpu-cnn {}, {}",
        env!("CARGO_PKG_VERSION"),
        gpu.described()
    )
}
