//! Files that are never left half written.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::{Error, Result};

/// Writes a file through a second one beside it, so that nobody ever reads half a file under the name,
/// whoever else writes it and whatever interrupts this.
pub(crate) fn replace(path: &Path, contents: &[u8]) -> Result<()> {
    static WRITES: AtomicU64 = AtomicU64::new(0);
    let write = WRITES.fetch_add(1, Ordering::Relaxed);
    let mut partial = path.as_os_str().to_owned();
    partial.push(format!(".{}-{write}.partial", std::process::id()));
    let written = std::fs::write(&partial, contents);
    let renamed = written.and_then(|()| std::fs::rename(&partial, path));
    renamed.map_err(|error| {
        let _ = std::fs::remove_file(&partial);
        Error::file(path, error)
    })
}
