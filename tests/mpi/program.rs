//! This program under `mpirun`, with a limit to the time that it may take.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Far more than any run takes. One that takes longer hangs.
pub const PATIENCE: Duration = Duration::from_secs(180);

/// A folder of one run, deleted at its end.
pub struct Folder(pub PathBuf);

impl Folder {
    pub fn new(name: &str) -> Self {
        let name = format!("wgpu-cnn-mpi-{name}-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Ranks that run.
pub struct Ranks {
    mpirun: Child,
    output: PathBuf,
    _folder: Folder,
}

/// How they have ended, and what they have printed.
#[derive(Debug)]
pub struct Ended {
    pub code: Option<i32>,
    pub printed: String,
}

impl Ranks {
    /// Starts so many of them.
    pub fn start(count: usize, arguments: &[&str]) -> Self {
        let folder = Folder::new(&format!("output-{}", fastrand::u32(..)));
        let output = folder.0.join("printed");
        let file = File::create(&output).unwrap();
        let mpirun = Command::new("mpirun")
            .args([
                "--allow-run-as-root",
                "--oversubscribe",
                "-n",
                &count.to_string(),
            ])
            .arg(std::env::current_exe().unwrap())
            .arg("rank")
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(file.try_clone().unwrap())
            .stderr(file)
            .spawn();
        Self {
            mpirun: mpirun.expect("mpirun, which tests/mpi.sh installs"),
            output,
            _folder: folder,
        }
    }

    pub fn has_ended(&mut self) -> bool {
        self.mpirun.try_wait().unwrap().is_some()
    }

    /// Waits for their end, which must come within a time.
    pub fn end_within(mut self, most: Duration) -> Ended {
        let begin = Instant::now();
        while !self.has_ended() && begin.elapsed() < most {
            std::thread::sleep(Duration::from_millis(5));
        }
        let hangs = !self.has_ended();
        if hangs {
            // It ends its ranks, which it could not if it were killed.
            let id = self.mpirun.id().to_string();
            let _ = Command::new("kill").args(["-TERM", &id]).status();
        }
        let ended = Ended {
            code: self.mpirun.wait().unwrap().code(),
            printed: fs::read_to_string(&self.output).unwrap(),
        };
        assert!(!hangs, "the ranks hang: {}", ended.printed);
        ended
    }
}

/// Runs ranks to their end. What they print begins with `rank R: `.
pub fn run(count: usize, arguments: &[&str]) -> Ended {
    Ranks::start(count, arguments).end_within(PATIENCE)
}

impl Ended {
    /// Fails where a rank has.
    pub fn well(self) -> String {
        assert_eq!(self.code, Some(0), "{}", self.printed);
        self.printed
    }
}

/// The numbers of ranks that everything holds for.
const COUNTS: [usize; 3] = [1, 2, 4];

pub fn reduce() {
    for count in [1, 2, 3, 4] {
        run(count, &["reduce"]).well();
    }
}

pub fn train_on_cpu() {
    train("cpu");
}

pub fn train_on_gpu() {
    train("gpu");
}

fn train(device: &str) {
    for count in COUNTS {
        let printed = run(count, &["train", device]).well();
        assert_eq!(printed.matches("the same bits").count(), count, "{printed}");
    }
}

pub fn disagree() {
    let printed = run(3, &["disagree"]).well();
    assert_eq!(printed.matches("was told").count(), 3, "{printed}");
}

/// A rank that ends without the others, in each of the ways that a program has.
pub fn end() {
    for (count, who) in [(2, 1), (4, 0), (4, 2)] {
        for (how, told) in [
            ("error", true),
            ("panic", true),
            ("early", true),
            ("exit", false),
        ] {
            let ended = run(count, &["end", &who.to_string(), how]);
            assert!(ended.code.is_some_and(|code| code != 0), "{how}: {ended:?}");
            let named = format!("was told of rank {who}");
            let told = if told { count - 1 } else { 0 };
            assert_eq!(
                ended.printed.matches(&named).count(),
                told,
                "{how}: {ended:?}"
            );
        }
    }
}
