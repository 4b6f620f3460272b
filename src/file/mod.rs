//! Files that are never left half written, and those that are no files refused.
//!
//! Every file that the crate writes goes through [`Replacement`], every one that it reads through
//! [`open`].

mod partial;
pub(crate) mod safetensors;
#[cfg(all(test, unix))]
mod tests;

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, BufWriter, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use crate::{Error, Result};
use partial::Partial;

/// Writes a file as a whole.
pub(crate) fn replace(path: &Path, contents: &[u8]) -> Result<()> {
    let mut file = Replacement::begin(path)?;
    file.write(contents)?;
    file.finish()
}

/// Reads a file as a whole.
pub(crate) fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut contents = Vec::new();
    open(path)?.read_to_end(&mut contents)?;
    Ok(contents)
}

/// Opens a file to read. What is no file is refused: a pipe might never say anything, and a device
/// might never end.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    // Asked before it is opened, since that alone does something to some devices.
    regular(&fs::metadata(path)?)?;
    let file = without_waiting(OpenOptions::new().read(true)).open(path)?;
    regular(&file.metadata()?)?;
    Ok(file)
}

/// A file that is being written. Under its name is what was there before, until
/// [`finish`](Self::finish) puts all that was written in its place at once; if that never comes, for
/// whatever reason, nothing has happened.
///
/// A link is followed: it stays, and what it leads to is replaced, or made. Mode and owner stay. Another
/// name of the same file (a hard link) keeps the old contents.
pub(crate) struct Replacement {
    /// The name by which the user knows it.
    path: PathBuf,
    /// The file itself, behind all links.
    target: PathBuf,
    /// What is to be replaced, if there is something.
    old: Option<Metadata>,
    partial: BufWriter<Partial>,
}

impl Replacement {
    /// Begins to write a file. Whatever says beforehand that this cannot end well is an error here.
    pub fn begin(path: &Path) -> Result<Self> {
        Self::try_begin(path).map_err(|error| Error::file(path, error))
    }

    fn try_begin(path: &Path) -> io::Result<Self> {
        let (target, old) = resolve(path)?;
        if let Some(old) = &old {
            check_replaceable(&target, old)?;
        }
        let partial = Partial::new(&target, old.is_some()).map_err(|error| {
            let folder = folder(&target).display();
            io::Error::new(
                error.kind(),
                format!("cannot write in the folder {folder}: {error}"),
            )
        })?;
        if let Some(old) = &old {
            keep_owner(partial.file(), old)?;
        }
        Ok(Self {
            path: path.into(),
            target,
            old,
            partial: BufWriter::with_capacity(1 << 16, partial),
        })
    }

    /// Writes what comes next.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let written = self.partial.write_all(bytes);
        written.map_err(|error| Error::file(&self.path, error))
    }

    /// Puts what was written in the place of the file, on the disk too.
    pub fn finish(self) -> Result<()> {
        let path = self.path.clone();
        self.try_finish().map_err(|error| Error::file(&path, error))
    }

    fn try_finish(mut self) -> io::Result<()> {
        self.partial.flush()?;
        let partial = self.partial.get_mut();
        if let Some(old) = &self.old {
            keep_owner_and_mode(partial.file(), old)?;
        }
        partial.file().sync_all()?;
        if self.old.is_some() || !partial.place_new(&self.target)? {
            // What is there now need not be what was there.
            let (target, found) = resolve(&self.target)?;
            if let (None, Some(found)) = (&self.old, &found) {
                check_replaceable(&target, found)?;
                keep_owner_and_mode(partial.file(), found)?;
                partial.file().sync_all()?;
            }
            partial.place(&target)?;
            self.target = target;
        }
        sync_folder(folder(&self.target))
    }
}

/// The file that a path leads to, and what is there.
fn resolve(path: &Path) -> io::Result<(PathBuf, Option<Metadata>)> {
    if !names_a_file(path) {
        return Err(refusal("the path does not end in the name of a file"));
    }
    match fs::metadata(path) {
        Ok(found) => {
            regular(&found)?;
            let target = match fs::symlink_metadata(path)?.is_symlink() {
                true => fs::canonicalize(path)?,
                false => path.to_owned(),
            };
            Ok((target, Some(found)))
        }
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        Err(_) => {
            let target = follow(path)?;
            let folder = folder(&target);
            fs::metadata(folder).map_err(|error| {
                let folder = folder.display();
                io::Error::new(error.kind(), format!("the folder {folder}: {error}"))
            })?;
            Ok((target, None))
        }
    }
}

/// Where a path leads at whose end there is nothing yet.
fn follow(path: &Path) -> io::Result<PathBuf> {
    /// As many links as Linux follows.
    const LINKS: usize = 40;
    let mut target = path.to_owned();
    for _ in 0..LINKS {
        let Ok(next) = fs::read_link(&target) else {
            return Ok(target);
        };
        target = folder(&target).join(next);
        if !names_a_file(&target) {
            return Err(refusal(
                "the link's path does not end in the name of a file",
            ));
        }
    }
    Err(refusal("too many symbolic links"))
}

/// Whether the last part of a path is a name. `Path` itself leaves out a `/` or `/.` at the end, which
/// say that what is before them is a folder.
fn names_a_file(path: &Path) -> bool {
    let bytes = path.as_os_str().as_encoded_bytes();
    let separator = |byte: &u8| std::path::is_separator(char::from(*byte));
    let end = bytes.strip_suffix(b".").unwrap_or(bytes);
    path.file_name().is_some() && !end.last().is_some_and(separator)
}

/// The folder that a file is in.
fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

fn regular(it: &Metadata) -> io::Result<()> {
    if it.is_file() {
        return Ok(());
    }
    Err(refusal(&format!("is {}, not a file", kind(it))))
}

#[cfg(unix)]
fn kind(it: &Metadata) -> &'static str {
    use std::os::unix::fs::FileTypeExt;
    let kind = it.file_type();
    if kind.is_dir() {
        "a folder"
    } else if kind.is_fifo() {
        "a pipe"
    } else if kind.is_socket() {
        "a socket"
    } else {
        "a device"
    }
}

#[cfg(not(unix))]
fn kind(it: &Metadata) -> &'static str {
    if it.is_dir() { "a folder" } else { "a device" }
}

fn refusal(reason: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidInput, reason)
}

/// Whether a file may be written to. A folder that can be written in would let us replace it all the
/// same.
fn check_replaceable(target: &Path, old: &Metadata) -> io::Result<()> {
    if old.permissions().readonly() {
        return Err(io::Error::new(ErrorKind::PermissionDenied, "is read-only"));
    }
    without_waiting(OpenOptions::new().write(true)).open(target)?;
    Ok(())
}

/// A pipe that has taken a file's place would wait for its other end.
fn without_waiting(options: &mut OpenOptions) -> &mut OpenOptions {
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        options.custom_flags(rustix::fs::OFlags::NONBLOCK.bits().cast_signed());
    }
    options
}

#[cfg(unix)]
fn keep_owner(file: &File, old: &Metadata) -> io::Result<()> {
    use std::os::unix::fs::{MetadataExt, fchown};
    let new = file.metadata()?;
    if (new.uid(), new.gid()) != (old.uid(), old.gid()) {
        fchown(file, Some(old.uid()), Some(old.gid())).map_err(|error| {
            let reason = format!("belongs to somebody else, which would not stay: {error}");
            io::Error::new(error.kind(), reason)
        })?;
    }
    Ok(())
}

#[cfg(unix)]
fn keep_owner_and_mode(file: &File, old: &Metadata) -> io::Result<()> {
    keep_owner(file, old)?;
    file.set_permissions(old.permissions())
}

/// Where files have no owner and no mode, a new one takes what its folder gives it.
#[cfg(not(unix))]
fn keep_owner(_: &File, _: &Metadata) -> io::Result<()> {
    Ok(())
}

#[cfg(not(unix))]
fn keep_owner_and_mode(_: &File, _: &Metadata) -> io::Result<()> {
    Ok(())
}

/// Makes a new name last. Some folders can be written in but not opened, and some file systems have
/// nothing to do here and say so by an error.
#[cfg(unix)]
fn sync_folder(folder: &Path) -> io::Result<()> {
    let Ok(folder) = File::open(folder) else {
        return Ok(());
    };
    match folder.sync_all() {
        Err(error)
            if matches!(
                error.kind(),
                ErrorKind::InvalidInput | ErrorKind::Unsupported
            ) =>
        {
            Ok(())
        }
        result => result,
    }
}

/// Elsewhere folders cannot be opened as files are.
#[cfg(not(unix))]
fn sync_folder(_: &Path) -> io::Result<()> {
    Ok(())
}
