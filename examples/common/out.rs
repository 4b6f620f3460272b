//! The folder that results go to.

use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind};
use std::path::Path;

/// Makes the folder and sees that these files can be written in it: before a training, since what it
/// has learned is lost where that comes out afterwards.
pub fn prepare(folder: &Path, files: &[&str]) -> Result<(), String> {
    let said = |path: &Path, error| format!("{}: {error}", path.display());
    fs::create_dir_all(folder).map_err(|error| said(folder, error))?;
    for name in files {
        let path = folder.join(name);
        try_writing(&path).map_err(|error| said(&path, error))?;
    }
    Ok(())
}

/// Whether `Trainer::save` would write a file: tried, and nothing is left of it.
fn try_writing(path: &Path) -> io::Result<()> {
    let old = match fs::metadata(path) {
        Ok(found) if !found.is_file() => return Err(io::Error::other("is not a file")),
        Ok(found) if found.permissions().readonly() => {
            return Err(io::Error::other("is read-only"));
        }
        Ok(found) => Some(found),
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    let mut options = OpenOptions::new();
    // Where there is nothing yet, this makes the file, at the end of all links.
    options
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)?;
    let target = fs::canonicalize(path)?;
    let Some(old) = old else {
        return fs::remove_file(target);
    };
    // What is there is replaced by a new file beside it, which gets its owner.
    let probe = target.with_file_name(format!(".probe-{}", std::process::id()));
    let file = options.create_new(true).open(&probe).map_err(|error| {
        io::Error::new(error.kind(), format!("cannot write beside it: {error}"))
    })?;
    let kept = keep_owner(&file, &old);
    fs::remove_file(probe).and(kept)
}

#[cfg(unix)]
fn keep_owner(file: &fs::File, old: &fs::Metadata) -> io::Result<()> {
    use std::os::unix::fs::{MetadataExt, fchown};
    fchown(file, Some(old.uid()), Some(old.gid()))
}

#[cfg(not(unix))]
fn keep_owner(_: &fs::File, _: &fs::Metadata) -> io::Result<()> {
    Ok(())
}
