//! Files that are never left half written.

use std::path::Path;

use crate::{Error, Result};

/// Writes a file through a second one beside it, so that an interrupted write never leaves half a
/// file under the name.
pub(crate) fn replace(path: &Path, contents: &[u8]) -> Result<()> {
    let mut partial = path.as_os_str().to_owned();
    partial.push(".partial");
    std::fs::write(&partial, contents)
        .and_then(|()| std::fs::rename(&partial, path))
        .map_err(|error| Error::file(path, error))
}
