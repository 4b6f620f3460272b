//! Examples as a user runs them, where that shows what the library's own tests cannot: programs that a signal ends.
#![cfg(unix)]

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A folder of one test's own, deleted at its end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let name = format!("wgpu-cnn-examples-{name}-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Builds an example, as the tests are built. Returns the program.
fn build(example: &str) -> PathBuf {
    let profile = match cfg!(debug_assertions) {
        true => "dev",
        false => "release",
    };
    let built = Command::new(env!("CARGO"))
        .args([
            "build",
            "--locked",
            "--example",
            example,
            "--profile",
            profile,
        ])
        .args(["--message-format", "json"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    assert!(built.status.success(), "{example} is not built");
    let messages = built.stdout.lines();
    let programs = messages.filter_map(|message| {
        let message: serde_json::Value = serde_json::from_str(&message.unwrap()).unwrap();
        Some(PathBuf::from(message["executable"].as_str()?))
    });
    programs.last().unwrap()
}

/// Writes the four files of a data set of this family: noise, brighter for each class.
fn write_images(folder: &Path) {
    const SIDE: usize = 16; // no smaller one fits the network
    let mut random = fastrand::Rng::with_seed(7);
    for (name, count) in [("train", 200u32), ("t10k", 60)] {
        let labels: Vec<u8> = (0..count).map(|_| random.u8(0..10)).collect();
        let pixels = labels.iter().flat_map(|&label| [label; SIDE * SIDE]);
        let pixels: Vec<u8> = pixels.map(|label| 20 * label + random.u8(0..60)).collect();
        let header = |axes: &[u32]| {
            let numbers = [&[0x800 + axes.len() as u32], axes].concat();
            let bytes = numbers.iter().flat_map(|number| number.to_be_bytes());
            bytes.collect::<Vec<u8>>()
        };
        let side = SIDE as u32;
        for (kind, file) in [
            (
                "images-idx3",
                [header(&[count, side, side]), pixels].concat(),
            ),
            ("labels-idx1", [header(&[count]), labels].concat()),
        ] {
            fs::write(folder.join(format!("{name}-{kind}-ubyte")), file).unwrap();
        }
    }
}

/// What a run has printed and how it has ended. The first line that begins with `until` has it interrupted.
fn run(command: &mut Command, until: Option<&str>) -> (String, Option<i32>) {
    let mut program = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut output = BufReader::new(program.stdout.take().unwrap());
    let mut printed = String::new();
    while let Some(until) = until {
        let begin = printed.len();
        assert!(output.read_line(&mut printed).unwrap() > 0, "{printed}");
        if printed[begin..].starts_with(until) {
            let id = program.id().to_string();
            let sent = Command::new("kill").args(["-INT", &id]).status().unwrap();
            assert!(sent.success());
            break;
        }
    }
    output.read_to_string(&mut printed).unwrap();
    (printed, program.wait().unwrap().code())
}

/// What epochs came to, without their times, and the last line.
fn results(printed: &str) -> Vec<&str> {
    let epochs = printed.lines().filter(|line| line.starts_with("epoch "));
    let epochs = epochs.map(|line| line.split_inclusive(" %").next().unwrap());
    epochs.chain(printed.lines().last()).collect()
}

/// What is printed of a step by direct sums and without: both times, and losses that are near each other.
#[test]
fn long_filters_train_as_by_direct_sums() {
    let mut command = Command::new(build("long_filters"));
    command.args(["--taps", "200", "--epochs", "1", "--signals", "16"]);
    let (printed, code) = run(&mut command, None);
    assert_eq!(code, Some(0), "{printed}");
    let line = |begin: &str| {
        printed
            .lines()
            .find(|line| line.starts_with(begin))
            .unwrap()
    };
    assert!(
        line("a step takes ").contains(" ms by direct sums and "),
        "{printed}"
    );
    let words = line("after 4 steps").split(' ');
    let losses: Vec<f32> = words.filter_map(|word| word.parse().ok()).skip(1).collect();
    assert!((losses[0] - losses[1]).abs() < 1e-3, "{printed}");
    assert!(
        line("epoch 1: loss ").contains("test accuracy"),
        "{printed}"
    );
}

#[test]
fn fashion_mnist_goes_on_after_ctrl_c_to_the_same_results() {
    let (folder, program) = (Folder::new("interrupted"), build("fashion_mnist"));
    let data = folder.0.join("data");
    fs::create_dir(&data).unwrap();
    write_images(&data);
    let command = |out: &str| {
        let mut command = Command::new(&program);
        command.args(["--device", "cpu", "--epochs", "3", "--batch", "4"]);
        command
            .arg("--data")
            .arg(&data)
            .arg("--out")
            .arg(folder.0.join(out));
        command
    };
    let (whole, code) = run(&mut command("whole"), None);
    assert_eq!((code, results(&whole).len()), (Some(0), 4), "{whole}");

    let checkpoint = folder.0.join("run.safetensors");
    let command = || {
        let mut command = command("interrupted");
        command.arg("--checkpoint").arg(&checkpoint);
        command
    };
    let mut epochs = Vec::new();
    let moments = [
        Some("before training"),
        Some("epoch 1/"),
        Some("after "),
        None,
    ];
    for until in moments {
        let (printed, code) = run(&mut command(), until);
        let ended = until.map_or(0, |_| 130);
        assert_eq!(code, Some(ended), "{until:?}: {printed}");
        let mut results = results(&printed);
        if until.is_some() {
            let said = results.pop().unwrap();
            assert!(said.starts_with("interrupted after "), "{printed}");
        }
        epochs.extend(results.into_iter().map(str::to_owned));
    }
    assert_eq!(epochs, results(&whole));
    // The curves are of all that was recorded.
    for file in ["weights.safetensors", "loss.png", "filters.png"] {
        let [whole, interrupted] =
            ["whole", "interrupted"].map(|out| fs::read(folder.0.join(out).join(file)).unwrap());
        assert!(whole == interrupted, "{file}");
    }

    // Another training does not go on from there, and a finished one has nothing left to do.
    let (_, code) = run(command().args(["--seed", "8"]), None);
    assert_eq!(code, Some(1));
    let (again, code) = run(&mut command(), None);
    assert_eq!(
        (code, results(&again)),
        (Some(0), results(&whole)[3..].to_vec())
    );
}

#[test]
fn distributed_ranks_come_to_the_bits_of_one_process() {
    let (folder, program) = (Folder::new("distributed"), build("distributed"));
    write_images(&folder.0);
    let mut command = Command::new(&program);
    // Beyond an epoch of 13 batches, whose last round has none for some of the ranks.
    command.args([
        "--device",
        "cpu",
        "--ranks",
        "1,2,3",
        "--batch",
        "16",
        "--updates",
        "8",
    ]);
    let (printed, code) = run(command.arg("--data").arg(&folder.0), None);
    assert_eq!(code, Some(0), "{printed}");
    let lines: Vec<Vec<&str>> = printed
        .lines()
        .skip(1)
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(lines.len(), 3, "{printed}");
    for (line, ranks) in lines.iter().zip(["1", "2", "3"]) {
        let [.., together, alone] = line[..] else {
            panic!("{printed}");
        };
        assert_eq!(line[0], ranks);
        assert!(together == alone && together.len() == 16, "{printed}");
    }
}
