//! Files of weights that are several: an index in JSON, as `model.safetensors.index.json`, that says which
//! tensor is in which file.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::Read;
use std::path::{Component, Path};

use serde_json::{Map, Value};

use super::open::Open;
use crate::file::safetensors::{LONGEST_HEADER, Source, quoted};
use crate::{Error, Result, file};

/// Whether a path is that of an index.
pub(super) fn is_index(path: &Path) -> bool {
    path.extension()
        .is_some_and(|extension| extension == "json")
}

/// The files that an index names, by name, once they hold what it says and nothing else.
pub(super) fn open(path: &Path) -> Result<Vec<Open>> {
    let index = read(path).map_err(|reason| Error::file(path, reason))?;
    let folder = path.parent().unwrap_or(Path::new(""));
    let names: BTreeSet<&String> = index.values().collect();
    let mut files = Vec::new();
    let mut held = HashMap::new();
    for name in names {
        let file = Source::File(folder.join(name)).open(name)?;
        for (tensor, _) in file.tensors() {
            if index.get(tensor) != Some(name) {
                let reason = format!("tensor {} is not in the index as here", quoted(tensor));
                return Err(Error::file(file.path(), reason));
            }
            held.insert(tensor.clone(), files.len());
        }
        files.push(file);
    }
    match index.iter().find(|(tensor, _)| !held.contains_key(*tensor)) {
        Some((tensor, name)) => {
            let (tensor, name) = (quoted(tensor), quoted(name));
            let reason = format!("tensor {tensor} is not in the file {name}");
            Err(Error::file(path, reason))
        }
        None => Ok(files),
    }
}

/// The file of each tensor. Files lie beside the index or in folders below it.
fn read(path: &Path) -> std::result::Result<BTreeMap<String, String>, String> {
    let mut text = Vec::new();
    let file = file::open(path).map_err(|error| error.to_string())?;
    let mut bounded = file.take(LONGEST_HEADER + 1);
    bounded
        .read_to_end(&mut text)
        .map_err(|error| error.to_string())?;
    if text.len() as u64 > LONGEST_HEADER {
        return Err(format!("an index of more than {LONGEST_HEADER} bytes"));
    }
    let said = |error: serde_json::Error| format!("the index: {error}");
    let mut index: Map<String, Value> = serde_json::from_slice(&text).map_err(said)?;
    let map = index.remove("weight_map");
    let map = map.ok_or("the index has no \"weight_map\"")?;
    let map: BTreeMap<String, String> = serde_json::from_value(map).map_err(said)?;
    let within = |name: &str| {
        let parts = Path::new(name).components();
        let named = |part| matches!(part, Component::Normal(_));
        !name.is_empty() && parts.into_iter().all(named)
    };
    match map.values().find(|name| !within(name)) {
        Some(name) => Err(format!(
            "the index names {}, which is not in its folder",
            quoted(name)
        )),
        None => Ok(map),
    }
}
