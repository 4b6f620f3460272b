//! The folder that results go to.

use std::fs::{self, File, OpenOptions};
use std::io::ErrorKind;
use std::path::Path;

/// Makes the folder and sees that these files can be written in it: before a training, since what it
/// has learned is lost where that comes out afterwards.
pub fn prepare(folder: &Path, files: &[&str]) -> Result<(), String> {
    let said =
        |path: &Path, reason: &dyn std::fmt::Display| format!("{}: {reason}", path.display());
    fs::create_dir_all(folder).map_err(|error| said(folder, &error))?;
    let probe = folder.join(format!(".probe-{}", std::process::id()));
    File::create(&probe)
        .and_then(|_| fs::remove_file(&probe))
        .map_err(|error| said(folder, &format!("cannot be written in: {error}")))?;
    for name in files {
        let path = folder.join(name);
        match fs::metadata(&path) {
            Ok(found) if !found.is_file() => return Err(said(&path, &"is not a file")),
            Ok(found) if found.permissions().readonly() => {
                return Err(said(&path, &"is read-only"));
            }
            Ok(_) => {
                let opened = OpenOptions::new().write(true).open(&path);
                opened.map_err(|error| said(&path, &error))?;
            }
            Err(error) if error.kind() == ErrorKind::NotFound && !path.is_symlink() => {}
            Err(error) => return Err(said(&path, &error)),
        }
    }
    Ok(())
}
