//! The mode and the owner of a file that is replaced.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Command;

use super::super::{Replacement, replace};
use super::{Folder, VICTIM, any, named};

/// No test: [`an_owner_that_would_not_stay_is_found_at_once`] runs it as another user.
#[test]
#[ignore = "needs a file of another user"]
fn begins_to_write_what_is_anothers() {
    let Ok(path) = std::env::var(VICTIM) else {
        return;
    };
    let said = Replacement::begin(Path::new(&path)).err().unwrap();
    assert!(said.to_string().contains("belongs to somebody else"));
}

/// Only root can make files of others.
#[cfg(target_os = "linux")]
#[test]
fn an_owner_that_would_not_stay_is_found_at_once() {
    use std::os::unix::process::CommandExt;
    let folder = Folder::new("owner");
    if !folder.is_root() {
        return;
    }
    let path = folder.0.join("weights");
    fs::write(&path, "old").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
    fs::set_permissions(&folder.0, fs::Permissions::from_mode(0o777)).unwrap();
    let module = module_path!().split_once("::").unwrap().1;
    // The program by a name that does not depend on who may look into its folder.
    let run = Command::new("/proc/self/exe")
        .args(["--exact", "--ignored"])
        .arg(format!("{module}::begins_to_write_what_is_anothers"))
        .env(VICTIM, &path)
        .current_dir("/")
        .uid(1234)
        .gid(2345)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&run.stdout);
    assert!(run.status.success() && said.contains("1 passed"), "{said}");
    assert_eq!(fs::read_to_string(&path).unwrap(), "old");
    assert_eq!(folder.names(), ["weights"]);
}

#[test]
fn mode_and_owner_stay() {
    let folder = Folder::new("mode");
    let path = folder.0.join("weights");
    let (new, other) = (folder.0.join("new"), folder.0.join("other"));
    fs::write(&other, "").unwrap();
    replace(&new, b"").unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().mode();
    assert_eq!(mode(&new), mode(&other), "the mode of a new file");
    for begin in [any as fn(&Path) -> Replacement, named] {
        for wanted in [0o600, 0o640, 0o666, 0o200, 0o755, 0o604] {
            fs::write(&path, "old").unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(wanted)).unwrap();
            if folder.is_root() {
                std::os::unix::fs::chown(&path, Some(1234), Some(2345)).unwrap();
            }
            let before = fs::metadata(&path).unwrap();
            begin(&path).finish().unwrap();
            let after = fs::metadata(&path).unwrap();
            assert_eq!(after.len(), 0);
            assert_eq!(after.mode(), before.mode(), "{wanted:o}");
            assert_eq!((after.uid(), after.gid()), (before.uid(), before.gid()));
            fs::remove_file(&path).unwrap();
        }
    }
}
