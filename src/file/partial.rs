//! A file on its way to its name.
//!
//! On Linux it has no name at all until it is whole, so that nothing is left of it if the process is
//! killed. Where the file system cannot do that, and for the instant in which a whole file waits to
//! replace another, it has one of a few names that follow from the file's own, and its writer holds a
//! lock on it. A lock ends with its process: what lies under such a name and is not locked is what
//! somebody left who was killed, and the next who writes the file removes it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

/// Names for those who write the same file at the same time.
const SLOTS: usize = 1000;
/// Those that are searched for left-overs: more will hardly write one file at the same time.
const SEARCHED: usize = 16;

/// A file that is being written.
#[derive(Debug)]
pub(super) struct Partial {
    file: File,
    /// Its name, if it has one: it is removed unless the file finds its place.
    name: Option<PathBuf>,
}

impl Partial {
    /// A new file in the folder of `target`, and no left-overs of earlier ones.
    pub fn new(target: &Path, replaces: bool) -> io::Result<Self> {
        for slot in 0..SEARCHED {
            clear(&slot_path(target, slot));
        }
        match unnamed(target, replaces) {
            Some(file) => Ok(Self { file, name: None }),
            None => Self::named(target, replaces),
        }
    }

    pub fn named(target: &Path, replaces: bool) -> io::Result<Self> {
        for slot in 0..SLOTS {
            let name = slot_path(target, slot);
            let file = match options(replaces).create_new(true).open(&name) {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => continue,
                file => file?,
            };
            // Somebody may have taken it for a left-over before it was locked. Where there are no
            // locks, nobody takes it for one.
            if lock(&file).is_ok_and(|locked| !locked) || !is_at(&file, &name) {
                continue;
            }
            let name = Some(name);
            return Ok(Self { file, name });
        }
        Err(too_many())
    }

    pub fn file(&self) -> &File {
        &self.file
    }

    /// Gives the file a name that nothing has. Returns whether nothing has it.
    pub fn place_new(&mut self, target: &Path) -> io::Result<bool> {
        if self.name.is_none() {
            return link(&self.file, target);
        }
        let free = fs::symlink_metadata(target).is_err_and(|it| it.kind() == ErrorKind::NotFound);
        if free {
            self.place(target)?;
        }
        Ok(free)
    }

    /// Gives the file its name, at once and in place of whatever has it.
    pub fn place(&mut self, target: &Path) -> io::Result<()> {
        if self.name.is_none() {
            self.name = Some(self.link_beside(target)?);
        }
        if let Some(name) = &self.name {
            fs::rename(name, target)?;
            self.name = None;
        }
        Ok(())
    }

    fn link_beside(&self, target: &Path) -> io::Result<PathBuf> {
        for slot in 0..SLOTS {
            let name = slot_path(target, slot);
            if link(&self.file, &name)? || (clear(&name) && link(&self.file, &name)?) {
                return Ok(name);
            }
        }
        Err(too_many())
    }
}

impl Write for Partial {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        if let Some(name) = &self.name {
            let _ = fs::remove_file(name);
        }
    }
}

/// One of the names that a file has before its own: short, since its own may be as long as a name can
/// be.
pub(super) fn slot_path(target: &Path, slot: usize) -> PathBuf {
    let name = target.file_name().unwrap_or_default().as_encoded_bytes();
    // Fowler, Noll and Vo: the same in every version of every program.
    let hash = name.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    target.with_file_name(format!(".wgpu-cnn-{hash:016x}-{slot}.partial"))
}

fn too_many() -> io::Error {
    let reason = format!("{SLOTS} unfinished files are in the way");
    io::Error::new(ErrorKind::AlreadyExists, reason)
}

/// Removes a file that somebody left. Returns whether the name is free now.
fn clear(name: &Path) -> bool {
    match options(true).open(name) {
        Err(error) => error.kind() == ErrorKind::NotFound,
        // Once it is locked, only a file of another writer can come to be under the name, and none does
        // while this one is.
        Ok(file) => {
            lock(&file).unwrap_or(false) && is_at(&file, name) && fs::remove_file(name).is_ok()
        }
    }
}

/// How partial files are opened. One that replaces a file is nobody else's to read before it has that
/// file's mode.
#[cfg(unix)]
fn options(private: bool) -> OpenOptions {
    use std::os::unix::fs::OpenOptionsExt;
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    let mut options = OpenOptions::new();
    options
        .write(true)
        .mode(mode(private))
        .custom_flags(flags.bits().cast_signed());
    options
}

#[cfg(unix)]
fn mode(private: bool) -> u32 {
    if private { 0o600 } else { 0o666 }
}

/// Nobody else may open it to write, which is the lock; it may be renamed and removed.
#[cfg(windows)]
fn options(_: bool) -> OpenOptions {
    use std::os::windows::fs::OpenOptionsExt;
    const FILE_SHARE_DELETE: u32 = 4;
    let mut options = OpenOptions::new();
    options.write(true).share_mode(FILE_SHARE_DELETE);
    options
}

#[cfg(not(any(unix, windows)))]
fn options(_: bool) -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true);
    options
}

/// Locks a file until it is closed, or returns that somebody else has.
#[cfg(unix)]
fn lock(file: &File) -> io::Result<bool> {
    use rustix::fs::{FlockOperation, flock};
    match flock(file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(true),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// That it could be opened was the lock.
#[cfg(not(unix))]
fn lock(_: &File) -> io::Result<bool> {
    Ok(true)
}

/// Whether a file still has a name.
#[cfg(unix)]
fn is_at(file: &File, name: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let identity = |it: io::Result<fs::Metadata>| it.map(|it| (it.dev(), it.ino())).ok();
    let own = identity(file.metadata());
    own.is_some() && own == identity(fs::symlink_metadata(name))
}

#[cfg(not(unix))]
fn is_at(_: &File, _: &Path) -> bool {
    true
}

/// A file without a name, where there is that and a way to name it later.
#[cfg(target_os = "linux")]
fn unnamed(target: &Path, private: bool) -> Option<File> {
    use std::os::unix::fs::OpenOptionsExt;
    let flags = rustix::fs::OFlags::TMPFILE.bits().cast_signed();
    let mut options = OpenOptions::new();
    options.write(true).mode(mode(private)).custom_flags(flags);
    let file = options.open(super::folder(target)).ok()?;
    // For the instant in which it has a name that is not its own.
    let locked = lock(&file).unwrap_or(false);
    (locked && fs::metadata(descriptor(&file)).is_ok()).then_some(file)
}

#[cfg(not(target_os = "linux"))]
fn unnamed(_: &Path, _: bool) -> Option<File> {
    None
}

/// Names a file that has no name. Returns whether nothing else has that name.
#[cfg(target_os = "linux")]
fn link(file: &File, name: &Path) -> io::Result<bool> {
    use rustix::fs::{AtFlags, CWD, linkat};
    match linkat(CWD, descriptor(file), CWD, name, AtFlags::SYMLINK_FOLLOW) {
        Ok(()) => Ok(true),
        Err(rustix::io::Errno::EXIST) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Every file has a name there.
#[cfg(not(target_os = "linux"))]
fn link(_: &File, _: &Path) -> io::Result<bool> {
    Err(ErrorKind::Unsupported.into())
}

/// The name that the kernel has for an open file.
#[cfg(target_os = "linux")]
fn descriptor(file: &File) -> PathBuf {
    use std::os::fd::AsRawFd;
    format!("/proc/self/fd/{}", file.as_raw_fd()).into()
}
