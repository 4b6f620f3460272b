//! What was measured, as a file: JSON that a person can read and edit.
//!
//! ```json
//! {
//!   "wgpu-cnn 0.1.0, llvmpipe (LLVM 15.0.6, 256 bits), vulkan, Mesa 22.3.6, llvmpipe": {
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

/// Where choices are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ChoiceStore {
    /// A file of the user's choice. If it cannot be read or written, that is an error.
    File(PathBuf),
    /// The user's cache folder. If there is none that serves, measurements are not kept.
    Cache,
}

impl ChoiceStore {
    fn path(&self) -> Option<PathBuf> {
        let variable = |name: &str| {
            let value = std::env::var_os(name).filter(|value| !value.is_empty());
            value.map(PathBuf::from)
        };
        let home = |folder: &str| std::env::home_dir().map(|home| home.join(folder));
        let cache = || {
            if cfg!(windows) {
                variable("LOCALAPPDATA")
            } else if cfg!(target_os = "macos") {
                home("Library/Caches")
            } else {
                variable("XDG_CACHE_HOME").or_else(|| home(".cache"))
            }
        };
        match self {
            Self::File(path) => Some(path.clone()),
            Self::Cache => Some(cache()?.join("wgpu-cnn/autotune.json")),
        }
    }

    /// An error where the user named the file, and a warning where not.
    fn bear<T: Default>(&self, result: Result<T>) -> Result<T> {
        match (self, result) {
            (Self::Cache, Err(error)) => {
                log::warn!("{error}");
                Ok(T::default())
            }
            (_, result) => result,
        }
    }
}

/// The file's contents: an object by adapter, of objects by work.
pub(super) struct ChoicesFile {
    store: ChoiceStore,
    path: Option<PathBuf>,
    adapter: String,
    contents: Map<String, Value>,
}

impl ChoicesFile {
    /// Reads the file, if there is one.
    pub(super) fn read(store: &ChoiceStore, gpu: &Gpu) -> Result<Self> {
        let mut file = Self {
            store: store.clone(),
            path: store.path(),
            adapter: adapter(gpu),
            contents: Map::new(),
        };
        file.reread()?;
        Ok(file)
    }

    /// Takes up what others have added.
    fn reread(&mut self) -> Result<()> {
        if let Some(path) = &self.path {
            self.contents = self.store.bear(contents(path))?;
        }
        Ok(())
    }

    /// The choices for this adapter.
    pub(super) fn choices(&self) -> Result<Choices> {
        self.store.bear(self.parse())
    }

    fn parse(&self) -> Result<Choices> {
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
        let path = self.path.as_deref().unwrap_or(Path::new(""));
        Error::file(path, format!("{what:?} should be {expected}"))
    }

    /// Adds what was measured of a piece of work, `timings` with the fastest first, to what is in the
    /// file by now: others may have added to it.
    pub(super) fn insert(&mut self, work: String, timings: &[Timing]) -> Result<()> {
        self.reread()?;
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
        match &self.path {
            Some(path) => self.store.bear(write(path, &self.contents)),
            None => Ok(()),
        }
    }
}

fn write(path: &Path, contents: &Map<String, Value>) -> Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(|e| Error::file(path, e))?;
    }
    let text = serde_json::to_string_pretty(contents).map_err(|e| Error::file(path, e))? + "\n";
    file::replace(path, text.as_bytes())
}

/// What is in a file, or nothing where there is none.
fn contents(path: &Path) -> Result<Map<String, Value>> {
    match file::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes).map_err(|e| Error::file(path, e)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Map::new()),
        Err(error) => Err(Error::file(path, error)),
    }
}

/// What measurements are valid for: these kernels, on this adapter, with this driver. Metal does not tell
/// its driver.
pub(super) fn adapter(gpu: &Gpu) -> String {
    let described = gpu.described();
    let driver = match gpu.info().driver.as_str() {
        "" => String::new(),
        driver => format!(", {driver}"),
    };
    format!(
        "wgpu-cnn {}, {described}{driver}",
        env!("CARGO_PKG_VERSION")
    )
}
