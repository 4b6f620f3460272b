//! Files as a user meets them: what saving and loading take of the host's memory, what is left where a
//! process is killed that saves, and what is refused, for every file that the crate writes.

#[path = "common/device.rs"]
#[allow(dead_code)]
mod device;
#[path = "../examples/common/finite.rs"]
mod finite;
#[path = "../examples/common/out.rs"]
mod out;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::fs;
use std::path::PathBuf;

use wgpu_cnn::{Model, Trainer};

/// Counts what each thread holds, and the most that it has held.
struct Counting;

thread_local! {
    static HELD: Cell<isize> = const { Cell::new(0) };
    static MOST: Cell<isize> = const { Cell::new(0) };
}

fn count(bytes: isize) {
    // At the end of a thread they are gone.
    let _ = HELD.try_with(|held| {
        held.set(held.get() + bytes);
        MOST.try_with(|most| most.set(most.get().max(held.get())))
    });
}

// SAFETY: all is the system's allocator's; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// The most bytes that this thread holds while it does something, beyond those that it held before.
fn most<T>(what: impl FnOnce() -> T) -> (T, isize) {
    let before = HELD.get();
    MOST.set(before);
    let result = what();
    (result, MOST.get() - before)
}

/// A folder of one test's own, deleted at its end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let name = format!("wgpu-cnn-files-{name}-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.0).unwrap();
        let name = |entry: fs::DirEntry| entry.file_name().into_string().unwrap();
        entries.map(|entry| name(entry.unwrap())).collect()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Four parameters of 4 MiB, and their small ones.
fn large() -> Model {
    const WIDTH: usize = 1024;
    let model = Model::builder([WIDTH]).dense(WIDTH).dense(WIDTH);
    model.dense(WIDTH).dense(WIDTH).build().unwrap()
}

#[test]
fn saving_takes_a_parameter_and_loading_a_copy_of_all() {
    const PARAMETER: isize = 4 << 20;
    let folder = Folder::new("memory");
    let path = folder.0.join("weights.safetensors");
    let builder = || Trainer::builder(large()).batch(1);
    let gpu = device::plain();
    let on_gpu = gpu.map(|gpu| builder().on(gpu).unwrap());
    for mut trainer in [Some(builder().on_cpu().unwrap()), on_gpu]
        .into_iter()
        .flatten()
    {
        // What goes through the GPU does so in pieces, which are there as bytes and as numbers.
        let pieces = trainer.gpu().map_or(0, |_| 8 << 20);
        trainer.save(&path).unwrap(); // what is made the first time only
        let (saved, held) = most(|| trainer.save(&path));
        saved.unwrap();
        let most_allowed = PARAMETER + pieces + (1 << 19);
        assert!(held >= PARAMETER && held <= most_allowed, "{held}");
        let (loaded, held) = most(|| trainer.load(&path));
        loaded.unwrap();
        assert!(held <= 5 * PARAMETER + pieces + (1 << 20), "{held}");
    }
}

/// Paths that lead to something special, which only some systems have.
#[cfg(unix)]
mod special {
    use std::fs;
    use std::os::unix::fs::{FileTypeExt, PermissionsExt, symlink};
    use std::path::Path;

    use wgpu_cnn::{Error, Gpu, Model, Result, Trainer};

    use super::{Folder, device};

    /// Everything that writes a file: what it is called, and how it is made to write.
    type Writer = (&'static str, fn(&Path) -> Result<()>);

    fn small() -> Model {
        Model::builder([4]).dense(3).build().unwrap()
    }

    fn writers() -> Vec<Writer> {
        let mut writers: Vec<Writer> = vec![("weights", |path| {
            Trainer::builder(small()).on_cpu()?.save(path)
        })];
        if device::plain().is_some() {
            writers.push(("autotuning", |path| {
                let gpu = Gpu::new()?;
                let trainer = Trainer::builder(small()).batch(2).autotune_file(path);
                trainer.on(&gpu).map(drop)
            }));
        }
        writers
    }

    #[test]
    fn nothing_writes_to_what_is_no_file() {
        let folder = Folder::new("no-files");
        let at = |name: &str| folder.0.join(name);
        let made = std::process::Command::new("mkfifo")
            .arg(at("pipe"))
            .status();
        assert!(made.unwrap().success());
        symlink("/dev/null", at("device")).unwrap();
        symlink("nowhere/nothing", at("dangling")).unwrap();
        fs::create_dir(at("folder")).unwrap();
        for (what, write) in writers() {
            for name in ["pipe", "device", "dangling", "folder"] {
                let written = write(&at(name));
                assert!(
                    matches!(written, Err(Error::File { .. })),
                    "{what} to a {name}"
                );
            }
        }
        let mut trainer = Trainer::builder(small()).on_cpu().unwrap();
        for name in ["pipe", "device", "dangling", "folder"] {
            let path = at(name);
            assert!(
                matches!(trainer.load(&path), Err(Error::File { .. })),
                "{name}"
            );
            let trainer = Trainer::builder(small()).weights(&path).on_cpu();
            assert!(matches!(trainer, Err(Error::File { .. })), "{name}");
        }
        assert_eq!(folder.names().len(), 4);
        let null = fs::metadata("/dev/null").unwrap().file_type();
        assert!(null.is_char_device());
    }

    /// What an example finds before its training is what saving finds after it.
    #[test]
    fn examples_accept_what_can_be_saved() {
        let folder = Folder::new("prepare");
        let at = |name: &str| folder.0.join(name);
        fs::create_dir(at("folder")).unwrap();
        for name in ["file", "second name", "read-only", "private"] {
            fs::write(at(name), "old").unwrap();
        }
        let mode = |name: &str, mode| {
            fs::set_permissions(at(name), fs::Permissions::from_mode(mode)).unwrap();
        };
        mode("read-only", 0o444);
        mode("private", 0o600);
        fs::hard_link(at("second name"), at("first name")).unwrap();
        let made = std::process::Command::new("mkfifo")
            .arg(at("pipe"))
            .status();
        assert!(made.unwrap().success());
        let links = [
            ("to file", "file"),
            ("to read-only", "read-only"),
            ("to folder", "folder"),
            ("to pipe", "pipe"),
            ("to device", "/dev/null"),
            ("to nothing", "folder/made"),
            ("to a link", "to nothing more"),
            ("to nothing more", "folder/made too"),
            ("to nowhere", "nowhere/made"),
            ("to a new folder", "new/"),
            ("loop", "loop"),
        ];
        for (link, target) in links {
            symlink(target, at(link)).unwrap();
        }
        let long = "n".repeat(256);
        let mut names = links.map(|(link, _)| link).to_vec();
        names.extend(["new", "folder/new", "nowhere/new", "file/new", "new/"]);
        names.extend(["file", "second name", "private", "read-only", "pipe"]);
        names.extend(["folder", &long, "/dev/null", "/proc/new"]);
        let trainer = Trainer::builder(small()).on_cpu().unwrap();
        let mut accepted = Vec::new();
        for name in names {
            let before = folder.names();
            let prepared = super::out::prepare(&folder.0, &[name]);
            assert_eq!(folder.names(), before, "{name}");
            if name == "file" || name == "private" {
                assert!(fs::metadata(at(name)).unwrap().len() >= 3, "{name}");
            }
            let saved = trainer.save(at(name));
            assert_eq!(
                prepared.is_ok(),
                saved.is_ok(),
                "{name}: {prepared:?}, {saved:?}"
            );
            accepted.extend(saved.is_ok().then_some(name));
        }
        let right = [
            "to file",
            "to nothing",
            "to a link",
            "new",
            "folder/new",
            "file",
        ];
        // The second link of a chain leads to what the first has made.
        let right = [
            &right[..3],
            &["to nothing more"],
            &right[3..],
            &["second name", "private"],
        ];
        assert_eq!(accepted, right.concat());
    }

    #[test]
    fn whatever_is_written_follows_links_and_keeps_modes() {
        for (what, write) in writers() {
            let folder = Folder::new(&format!("links-{what}"));
            let (target, link) = (folder.0.join("target"), folder.0.join("link"));
            write(&target).unwrap();
            let contents = fs::read(&target).unwrap();
            fs::set_permissions(&target, fs::Permissions::from_mode(0o640)).unwrap();
            // So that there is something to add for whoever only adds.
            fs::write(&target, if what == "weights" { "" } else { "{}" }).unwrap();
            symlink("target", &link).unwrap();
            write(&link).unwrap();
            assert!(fs::symlink_metadata(&link).unwrap().is_symlink(), "{what}");
            assert_eq!(fs::read(&target).unwrap().is_empty(), contents.is_empty());
            let mode = fs::metadata(&target).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o640, "{what}");
            assert_eq!(folder.names().len(), 2, "{what}");
        }
    }
}

#[test]
fn examples_find_parameters_that_are_no_numbers() {
    let model = Model::builder([4]).dense(3).relu().dense(2).build();
    let mut trainer = Trainer::builder(model.unwrap()).on_cpu().unwrap();
    finite::check(&trainer).unwrap();
    for wrong in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        trainer.set_parameter("0.bias", &[0.0, wrong, 0.0]).unwrap();
        let said = finite::check(&trainer).unwrap_err().to_string();
        assert!(said.contains("0.bias"), "{said}");
    }
}

/// What tells [`saves_until_it_is_killed`] where.
const VICTIM: &str = "WGPU_CNN_TEST_VICTIM";

/// Two models of one shape, whose weights are from different seeds.
fn seeded(seed: u64) -> Trainer {
    let model = Model::builder([256]).dense(512).dense(64).build().unwrap();
    Trainer::builder(model).seed(seed).on_cpu().unwrap()
}

/// No test: [`a_save_that_is_killed_leaves_the_old_file_or_the_new`] runs it in processes of their own.
#[test]
#[ignore = "runs until it is killed"]
fn saves_until_it_is_killed() {
    let Some(path) = std::env::var_os(VICTIM) else {
        return;
    };
    let trainers = [seeded(1), seeded(2)];
    for trainer in trainers.iter().cycle() {
        trainer.save(&path).unwrap();
    }
}

#[test]
fn a_save_that_is_killed_leaves_the_old_file_or_the_new() {
    use std::thread::sleep;
    use std::time::{Duration, Instant};
    let kills = std::env::var("WGPU_CNN_KILLS").map_or(10, |kills| kills.parse().unwrap());
    let folder = Folder::new("kills");
    let path = folder.0.join("weights.safetensors");
    let whole = [1, 2].map(|seed| {
        seeded(seed).save(&path).unwrap();
        fs::read(&path).unwrap()
    });
    let written = || fs::metadata(&path).and_then(|it| it.modified()).ok();
    let mut left_overs = 0;
    for kill in 0..kills {
        let (before, started) = (written(), Instant::now());
        let mut victim = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "--ignored", "saves_until_it_is_killed"])
            .env(VICTIM, &path)
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        while written() == before {
            assert!(started.elapsed().as_secs() < 60, "nothing is saved");
            sleep(Duration::from_millis(1));
        }
        let moment = u64::wrapping_mul(kill, 0x9e37_79b9_7f4a_7c15) >> 32;
        sleep(Duration::from_micros(moment % 20_000));
        victim.kill().unwrap();
        victim.wait().unwrap();
        let found = fs::read(&path).unwrap();
        assert!(whole.contains(&found), "kill {kill}");
        let names = folder.names();
        assert!(names.len() <= 2, "kill {kill}: {names:?}");
        left_overs += names.len() - 1;
    }
    println!("{kills} kills, {left_overs} left-overs");
    let mut trainer = seeded(3);
    trainer.load(&path).unwrap();
    trainer.save(&path).unwrap();
    assert_eq!(folder.names().len(), 1);
}
