//! Whole files, what is refused, and what a killed process leaves.

mod owners;

use std::fs;
use std::io::{BufWriter, Write as _};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::partial::Partial;
use super::{Replacement, open, replace};
use crate::Error;

/// A folder of one test's own, deleted at its end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let name = format!("wgpu-cnn-file-{name}-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    /// Whether its owner, who runs the tests, may do everything.
    fn is_root(&self) -> bool {
        fs::metadata(&self.0).unwrap().uid() == 0
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.0).unwrap();
        let name = |entry: fs::DirEntry| entry.file_name().into_string().unwrap();
        let mut names: Vec<String> = entries.map(|entry| name(entry.unwrap())).collect();
        names.sort();
        names
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A replacement whose partial file has a name from the start, as where files cannot be without one.
fn named(path: &Path) -> Replacement {
    let file = Replacement::begin(path).unwrap();
    let partial = Partial::named(&file.target, file.old.is_some()).unwrap();
    Replacement {
        partial: BufWriter::new(partial),
        ..file
    }
}

/// A replacement as the file system allows it.
fn any(path: &Path) -> Replacement {
    Replacement::begin(path).unwrap()
}

/// Whether a file can be open in a folder without a name there.
#[cfg(target_os = "linux")]
fn files_need_no_name(folder: &Path) -> bool {
    use rustix::fs::{Mode, OFlags, open};
    open(folder, OFlags::TMPFILE | OFlags::WRONLY, Mode::RUSR).is_ok()
}

#[cfg(not(target_os = "linux"))]
fn files_need_no_name(_: &Path) -> bool {
    false
}

#[test]
fn what_was_there_stays_until_the_file_is_whole() {
    for (kind, begin) in [("any", any as fn(&Path) -> Replacement), ("named", named)] {
        let folder = Folder::new(&format!("whole-{kind}"));
        let path = folder.0.join("weights");
        for (before, after) in [(None, "first"), (Some("first"), "second")] {
            let found = || fs::read_to_string(&path).ok();
            let mut file = begin(&path);
            file.write(b"half").unwrap();
            file.partial.flush().unwrap();
            assert_eq!(found().as_deref(), before, "{kind}");
            if kind == "any" && files_need_no_name(&folder.0) {
                let names = folder.names();
                assert_eq!(names.len(), usize::from(before.is_some()), "{names:?}");
            }
            drop(file);
            assert_eq!(found().as_deref(), before, "{kind}");
            assert_eq!(folder.names().len(), usize::from(before.is_some()));
            let mut file = begin(&path);
            file.write(after.as_bytes()).unwrap();
            file.finish().unwrap();
            assert_eq!(found().as_deref(), Some(after), "{kind}");
            assert_eq!(folder.names(), ["weights"], "{kind}");
        }
    }
}

#[test]
fn writers_of_one_file_at_once_leave_what_one_of_them_wrote() {
    for (kind, begin) in [("any", any as fn(&Path) -> Replacement), ("named", named)] {
        let folder = Folder::new(&format!("at-once-{kind}"));
        let path = folder.0.join("weights");
        std::thread::scope(|scope| {
            for writer in 0..6u8 {
                let path = &path;
                scope.spawn(move || {
                    for _ in 0..20 {
                        let mut file = begin(path);
                        for _ in 0..30 {
                            file.write(&[writer; 5000]).unwrap();
                        }
                        file.finish().unwrap();
                    }
                });
            }
            for _ in 0..200 {
                if let Ok(bytes) = fs::read(&path) {
                    assert_eq!(bytes.len(), 150_000, "{kind}");
                    assert!(bytes.iter().all(|byte| *byte == bytes[0]), "{kind}");
                }
            }
        });
        assert_eq!(folder.names(), ["weights"], "{kind}");
    }
}

#[test]
fn left_overs_are_removed_and_unfinished_files_of_others_are_not() {
    let folder = Folder::new("left-overs");
    let path = folder.0.join("weights");
    let mut other = named(&path);
    let mut another = named(&path);
    let names = folder.names();
    assert_eq!(names.len(), 2, "{names:?}");
    let copies: Vec<PathBuf> = (2..5)
        .map(|slot| super::partial::slot_path(&path, slot))
        .collect();
    for copy in &copies {
        fs::write(copy, "of somebody who was killed").unwrap();
    }
    replace(&path, b"mine").unwrap();
    let left = [&names[..], &["weights".to_owned()]].concat();
    assert_eq!(folder.names(), left);
    other.write(b"others'").unwrap();
    another.write(b"another's").unwrap();
    another.finish().unwrap();
    other.finish().unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), "others'");
    assert_eq!(folder.names(), ["weights"]);
}

#[test]
fn a_link_stays_and_what_it_leads_to_is_replaced() {
    let folder = Folder::new("links");
    fs::create_dir(folder.0.join("real")).unwrap();
    let target = folder.0.join("real/weights");
    fs::write(&target, "old").unwrap();
    let links = ["absolute", "relative", "link to a link"].map(|name| folder.0.join(name));
    symlink(&target, &links[0]).unwrap();
    symlink("real/weights", &links[1]).unwrap();
    symlink("relative", &links[2]).unwrap();
    for link in &links {
        let said = link.to_string_lossy();
        replace(link, said.as_bytes()).unwrap();
        assert!(fs::symlink_metadata(link).unwrap().is_symlink());
        assert_eq!(fs::read_to_string(&target).unwrap(), said);
        assert!(open(link).is_ok());
    }
    symlink("real", folder.0.join("folder")).unwrap();
    replace(&folder.0.join("folder/weights"), b"new").unwrap();
    assert_eq!(fs::read_to_string(&target).unwrap(), "new");
    assert_eq!(fs::read_dir(folder.0.join("real")).unwrap().count(), 1);
    assert_eq!(folder.names().len(), 5);
}

#[test]
fn a_link_to_nothing_stays_and_its_file_is_made() {
    for (kind, begin) in [("any", any as fn(&Path) -> Replacement), ("named", named)] {
        let folder = Folder::new(&format!("dangling-{kind}"));
        let at = |name: &str| folder.0.join(name);
        fs::create_dir(at("real")).unwrap();
        symlink("real", at("folder")).unwrap();
        symlink(at("real/1"), at("absolute")).unwrap();
        symlink("real/2", at("relative")).unwrap();
        symlink("../real/3", at("real/up")).unwrap();
        symlink("folder/up", at("link to a link")).unwrap();
        let links = [
            ("absolute", "1"),
            ("relative", "2"),
            ("link to a link", "3"),
        ];
        for (link, name) in links {
            let mut file = begin(&at(link));
            file.write(link.as_bytes()).unwrap();
            file.finish().unwrap();
            assert!(fs::symlink_metadata(at(link)).unwrap().is_symlink());
            let made = at("real").join(name);
            assert!(fs::symlink_metadata(&made).unwrap().is_file());
            assert_eq!(fs::read_to_string(made).unwrap(), link);
        }
        assert_eq!(fs::read_dir(at("real")).unwrap().count(), 4);
        assert_eq!(folder.names().len(), 5);
    }
}

#[test]
fn a_second_name_keeps_the_old_contents() {
    for (kind, begin) in [("any", any as fn(&Path) -> Replacement), ("named", named)] {
        let folder = Folder::new(&format!("second-name-{kind}"));
        let [one, two] = ["one", "two"].map(|name| folder.0.join(name));
        fs::write(&one, "old").unwrap();
        fs::hard_link(&one, &two).unwrap();
        let mut file = begin(&one);
        file.write(b"new").unwrap();
        file.finish().unwrap();
        assert_eq!(fs::read_to_string(one).unwrap(), "new");
        assert_eq!(fs::read_to_string(two).unwrap(), "old");
        assert_eq!(folder.names(), ["one", "two"]);
    }
}

#[test]
fn what_appears_meanwhile_is_asked_too() {
    for (kind, begin) in [("any", any as fn(&Path) -> Replacement), ("named", named)] {
        let folder = Folder::new(&format!("meanwhile-{kind}"));
        let path = folder.0.join("weights");
        let mode = |mode| fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let pipe = || {
            assert!(
                Command::new("mkfifo")
                    .arg(&path)
                    .status()
                    .unwrap()
                    .success()
            )
        };
        let refused = |file: Replacement, reason: &str| {
            let said = file.finish().unwrap_err().to_string();
            assert!(said.contains(reason), "{kind}: {said}");
            assert_eq!(folder.names(), ["weights"], "{kind}");
            fs::remove_file(&path).unwrap();
        };
        let file = begin(&path);
        fs::write(&path, "another's").unwrap();
        mode(0o444);
        refused(file, "read-only");
        let file = begin(&path);
        pipe();
        refused(file, "is a pipe");
        fs::write(&path, "old").unwrap();
        let file = begin(&path);
        fs::remove_file(&path).unwrap();
        pipe();
        refused(file, "is a pipe");
        let mut file = begin(&path);
        file.write(b"mine").unwrap();
        fs::write(&path, "another's").unwrap();
        mode(0o640);
        file.finish().unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "mine");
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o640);
        assert_eq!(folder.names(), ["weights"], "{kind}");
    }
}

#[test]
fn what_is_no_file_or_must_not_be_replaced_is_refused() {
    let folder = Folder::new("refused");
    let at = |name: &str| folder.0.join(name);
    fs::create_dir(at("folder")).unwrap();
    fs::write(at("file"), "").unwrap();
    assert!(
        Command::new("mkfifo")
            .arg(at("pipe"))
            .status()
            .unwrap()
            .success()
    );
    let _socket = std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
    symlink("/dev/null", at("link to a device")).unwrap();
    symlink("pipe", at("link to a pipe")).unwrap();
    symlink("folder", at("link to a folder")).unwrap();
    symlink("nowhere/nothing", at("dangling")).unwrap();
    symlink("new/", at("link to a new folder")).unwrap();
    symlink("loop", at("loop")).unwrap();
    fs::write(at("read-only"), "").unwrap();
    fs::set_permissions(at("read-only"), fs::Permissions::from_mode(0o444)).unwrap();
    let long = "n".repeat(256);
    // What is wrong, and whether it cannot be read either.
    let cases = [
        ("folder", "is a folder", true),
        ("folder/", "does not end in the name of a file", true),
        ("folder/..", "does not end in the name of a file", true),
        ("folder/.", "does not end in the name of a file", true),
        ("new/", "does not end in the name of a file", true),
        ("new/.", "does not end in the name of a file", true),
        ("pipe", "is a pipe", true),
        ("socket", "is a socket", true),
        ("/dev/null", "is a device", true),
        ("/dev/zero", "is a device", true),
        ("link to a device", "is a device", true),
        ("link to a pipe", "is a pipe", true),
        ("link to a folder", "is a folder", true),
        ("dangling", "nowhere: ", true),
        ("link to a new folder", "does not end in the name", true),
        ("loop", "symbolic links", true),
        ("read-only", "is read-only", false),
        ("nowhere/file", "nowhere: ", true),
        ("file/file", "ot a directory", true),
        ("nul\0", "nul byte", true),
        (&long, "name too long", true),
    ];
    let before = folder.names();
    for (name, reason, unreadable) in cases {
        let path = at(name);
        let Err(Error::File {
            path: told,
            reason: said,
        }) = replace(&path, b"new")
        else {
            panic!("{name} was written")
        };
        assert_eq!(told, path);
        assert!(said.to_lowercase().contains(reason), "{name}: {said}");
        assert_eq!(open(&path).is_err(), unreadable, "{name}");
        assert_eq!(folder.names(), before, "{name}");
    }
    let bare = ["", ".", "..", "/"];
    for path in bare {
        assert!(replace(Path::new(path), b"").is_err(), "{path:?}");
    }
    assert!(fs::symlink_metadata("/dev/null").unwrap().mode() & 0o170000 == 0o020000);
}

#[test]
fn a_name_may_be_as_long_as_names_can_be() {
    let folder = Folder::new("long");
    let name = "n".repeat(255);
    for begin in [any as fn(&Path) -> Replacement, named] {
        for contents in ["first", "second"] {
            let mut file = begin(&folder.0.join(&name));
            file.write(contents.as_bytes()).unwrap();
            file.finish().unwrap();
            assert_eq!(fs::read_to_string(folder.0.join(&name)).unwrap(), contents);
        }
    }
    assert_eq!(folder.names(), [name]);
}

#[test]
fn a_folder_that_takes_no_files_is_named() {
    let folder = Folder::new("folder-read-only");
    let file = folder.0.join("weights");
    fs::write(&file, "old").unwrap();
    fs::set_permissions(&folder.0, fs::Permissions::from_mode(0o555)).unwrap();
    let result = replace(&file, b"new");
    fs::set_permissions(&folder.0, fs::Permissions::from_mode(0o755)).unwrap();
    if !folder.is_root() {
        let said = result.unwrap_err().to_string();
        assert!(said.contains("cannot write in the folder"), "{said}");
        assert_eq!(fs::read_to_string(&file).unwrap(), "old");
    }
    if cfg!(target_os = "linux") {
        let said = replace(Path::new("/proc/weights"), b"new").unwrap_err();
        let said = said.to_string();
        assert!(said.contains("cannot write in the folder /proc"), "{said}");
    }
}

/// What tells [`writes_until_it_is_killed`] where to write, and how.
const VICTIM: &str = "WGPU_CNN_TEST_VICTIM";
/// The bytes of its file, all of them the same.
const LEN: usize = 1 << 20;

/// No test: [`a_killed_writer_leaves_a_whole_file`] runs it in processes of their own.
#[test]
#[ignore = "runs until it is killed"]
fn writes_until_it_is_killed() {
    let Ok(victim) = std::env::var(VICTIM) else {
        return;
    };
    let (kind, path) = victim.split_once(':').unwrap();
    let begin = if kind == "named" { named } else { any };
    for byte in (0u8..=255).cycle() {
        let mut file = begin(Path::new(path));
        for _ in 0..16 {
            file.write(&[byte; LEN / 16]).unwrap();
        }
        file.finish().unwrap();
    }
}

/// How often a writer is killed: `WGPU_CNN_KILLS`, or a few times.
fn kills() -> usize {
    let kills = std::env::var("WGPU_CNN_KILLS").ok();
    kills.map_or(10, |kills| kills.parse().unwrap())
}

#[test]
fn a_killed_writer_leaves_a_whole_file() {
    let module = module_path!().split_once("::").unwrap().1;
    let name = format!("{module}::writes_until_it_is_killed");
    for kind in ["any", "named"] {
        let folder = Folder::new(&format!("kill-{kind}"));
        let path = folder.0.join("weights");
        let written = || fs::metadata(&path).and_then(|it| it.modified()).ok();
        let mut left_overs = 0;
        for kill in 0..kills() as u64 {
            let (before, started) = (written(), Instant::now());
            let mut victim = Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "--ignored", &name])
                .env(VICTIM, format!("{kind}:{}", path.display()))
                .stdout(std::process::Stdio::null())
                .spawn()
                .unwrap();
            while written() == before {
                assert!(started.elapsed().as_secs() < 60, "nothing is written");
                sleep(Duration::from_millis(1));
            }
            let moment = kill.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
            sleep(Duration::from_micros(moment % 40_000));
            victim.kill().unwrap();
            victim.wait().unwrap();
            let bytes = fs::read(&path).unwrap();
            assert_eq!(bytes.len(), LEN, "{kind}, kill {kill}");
            let same = bytes.iter().all(|byte| *byte == bytes[0]);
            assert!(same, "{kind}, kill {kill}");
            // Each writer removes what the one before it has left.
            let names = folder.names();
            assert!(names.len() <= 2, "{kind}, kill {kill}: {names:?}");
            left_overs += names.len() - 1;
        }
        println!("{kind}: {} kills, {left_overs} left-overs", kills());
        replace(&path, b"the next").unwrap();
        assert_eq!(folder.names(), ["weights"], "{kind}");
    }
}
