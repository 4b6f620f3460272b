//! Ranks that end, and ranks that are killed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use wgpu_cnn::distributed::{Mpi, Reducer};
use wgpu_cnn::{Error, Optimizer, Result};

use crate::program::{self, Folder, Ranks};
use crate::ranks;

/// A rank that ends in one of several ways, while the others go on.
pub fn end(arguments: &[&str]) {
    let [who, how] = arguments[..] else {
        panic!("a rank, and how it ends");
    };
    let who: usize = who.parse().unwrap();
    let mut mpi = Mpi::new().unwrap();
    let own = mpi.rank();
    let ended = work(&mut mpi, (who, how));
    match ended {
        Ok(()) => {}
        Err(Error::Rank { rank, .. }) if rank == who && own != who => {
            println!("rank {own}: was told of rank {rank}");
        }
        Err(error) => println!("rank {own}: {error}"),
    }
    drop(mpi);
    std::process::exit(1);
}

fn work(mpi: &mut Mpi, (who, how): (usize, &str)) -> Result<()> {
    let batch = 5;
    let loader = ranks::loader(batch).shard(mpi.rank(), mpi.size()).build()?;
    let builder = ranks::builder(Optimizer::adam(1e-2), batch);
    let mut trainer = builder.distributed(mpi.clone()).on_cpu()?;
    for epoch in 0.. {
        for batch in loader.epoch(epoch) {
            let batch = batch?;
            if mpi.rank() == who && epoch == 2 {
                match how {
                    "error" => {
                        return Err(Error::NoAdapter {
                            reason: "of its own".into(),
                        });
                    }
                    "early" => return Ok(()),
                    "exit" => std::process::exit(3),
                    _ => panic!("as it was told to"),
                }
            }
            trainer.step(&batch.images, batch.targets)?;
        }
    }
    Ok(())
}

/// How long a training takes after its ranks have started, about: long enough to be hit anywhere.
const STEPS: u64 = 40;
const STEP: Duration = Duration::from_millis(15);
const CHECKPOINT: &str = "run.safetensors";

/// A rank of a training that keeps what it has come to after each step, and goes on from there.
pub fn train(arguments: &[&str]) {
    let [folder, device] = arguments[..] else {
        panic!("a folder, and a device");
    };
    let folder = Path::new(folder);
    let mpi = Mpi::new().unwrap();
    let (rank, size) = (mpi.rank(), mpi.size());
    let id = std::process::id().to_string();
    fs::write(folder.join(format!("rank-{rank}")), id).unwrap();
    let hash = keep_training(mpi, &folder.join(CHECKPOINT), device).unwrap();
    println!("rank {rank}: of {size}: {hash:016x}");
}

fn keep_training(mpi: Mpi, file: &Path, device: &str) -> Result<u64> {
    let batch = 5;
    let gpu = (device == "gpu").then(|| mpi.gpu()).transpose()?;
    let loader = ranks::loader(batch).shard(mpi.rank(), mpi.size()).build()?;
    let mut builder = ranks::builder(Optimizer::adam(1e-2), batch).distributed(mpi);
    if file.exists() {
        builder = builder.resume(file);
    }
    let mut trainer = match &gpu {
        Some(gpu) => builder.on(gpu)?,
        None => builder.on_cpu()?,
    };
    if !trainer.data_place().is_empty() {
        loader.resume(&trainer.data_place().try_into()?)?;
    }
    for epoch in loader.place().epoch().. {
        for batch in loader.epoch(epoch) {
            if trainer.updates() >= STEPS {
                return ranks::hash(&trainer);
            }
            let batch = batch?;
            trainer.step(&batch.images, batch.targets)?;
            trainer.set_data_place(loader.place());
            trainer.checkpoint(file)?;
            std::thread::sleep(STEP);
        }
    }
    ranks::hash(&trainer)
}

/// What a training comes to, and how long it took.
fn result(printed: &str, count: usize) -> String {
    let hashes = printed
        .lines()
        .filter_map(|line| line.split(&format!("of {count}: ")).nth(1));
    let mut hashes: Vec<&str> = hashes.collect();
    assert_eq!(hashes.len(), count, "{printed}");
    hashes.dedup();
    assert_eq!(
        hashes.len(),
        1,
        "the ranks have come to different weights: {printed}"
    );
    hashes[0].to_owned()
}

fn number(name: &str, default: u64) -> u64 {
    let text = std::env::var(name);
    text.map_or(default, |text| {
        text.parse().unwrap_or_else(|_| panic!("{name}={text}"))
    })
}

/// Kills random ranks at random moments. `mpirun` must name the one and end the others, within seconds; the same
/// command must go on, from a whole checkpoint, to the bits of a training that nobody killed.
pub fn kills() {
    /// A killed rank takes the others along within this.
    const SOON: Duration = Duration::from_secs(30);
    let (wanted, seed) = (
        number("WGPU_CNN_MPI_KILLS", 12),
        number("WGPU_CNN_MPI_SEED", 0),
    );
    let mut random = fastrand::Rng::with_seed(seed);
    let mut expected: Vec<_> = [(2, "cpu"), (4, "cpu"), (2, "gpu")]
        .map(|(count, device)| {
            let (folder, begin) = (Folder::new("whole"), Instant::now());
            let printed = program::run(count, &train_arguments(&folder, device)).well();
            (count, device, result(&printed, count), begin.elapsed())
        })
        .into();
    let (mut killed, mut late, mut resumed) = (0, 0, 0);
    while killed < wanted {
        // Devices take long to start: one training in five.
        let which = random.usize(0..5) % 4 % 3;
        let (count, device, whole, takes) = &mut expected[which];
        let folder = Folder::new("killed");
        let arguments = train_arguments(&folder, device);
        for _ in 0..random.u64(1..4) {
            resumed += u64::from(folder.0.join(CHECKPOINT).exists());
            let moment = takes.mul_f32(random.f32());
            match kill(*count, &arguments, &folder, (moment, &mut random)) {
                Some((rank, ranks)) => {
                    killed += 1;
                    *takes = takes.mul_f32(1.1);
                    let ended = ranks.end_within(SOON);
                    assert!(ended.code != Some(0), "{ended:?}");
                    let named = format!("process rank {rank} ");
                    assert!(ended.printed.contains(&named), "rank {rank}: {ended:?}");
                    all_gone(&folder, *count);
                    if killed % 20 == 0 {
                        println!("{killed} kills of {wanted}");
                    }
                }
                // It has come to its end: the next one is to be hit earlier.
                None => {
                    late += 1;
                    *takes = takes.mul_f32(0.8);
                    break;
                }
            }
        }
        let printed = program::run(*count, &arguments).well();
        assert_eq!(
            result(&printed, *count),
            *whole,
            "{count} ranks on {device}"
        );
        let mut left: Vec<_> = names(&folder.0);
        left.retain(|name| !name.starts_with("rank-") && name != CHECKPOINT);
        assert!(left.iter().all(|name| name.ends_with(".lock")), "{left:?}");
    }
    println!("{killed} kills, {late} that came too late, {resumed} starts from a checkpoint");
}

fn train_arguments<'a>(folder: &'a Folder, device: &'a str) -> [&'a str; 3] {
    ["checkpoint", folder.0.to_str().unwrap(), device]
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

fn process(folder: &Folder, rank: usize) -> PathBuf {
    folder.0.join(format!("rank-{rank}"))
}

/// Starts ranks and kills one of them at a moment, if it is still there.
fn kill(
    count: usize,
    arguments: &[&str],
    folder: &Folder,
    (moment, random): (Duration, &mut fastrand::Rng),
) -> Option<(usize, Ranks)> {
    (0..count).for_each(|rank| drop(fs::remove_file(process(folder, rank))));
    let (begin, rank) = (Instant::now(), random.usize(..count));
    let mut ranks = Ranks::start(count, arguments);
    loop {
        std::thread::sleep(Duration::from_millis(2));
        if ranks.has_ended() {
            return None;
        }
        let id = fs::read_to_string(process(folder, rank)).unwrap_or_default();
        if begin.elapsed() >= moment && !id.is_empty() {
            let sent = Command::new("kill")
                .stderr(Stdio::null())
                .args(["-KILL", &id])
                .status()
                .unwrap();
            if sent.success() {
                return Some((rank, ranks));
            }
            // It has come to its end, and so have or will the others.
            ranks.end_within(program::PATIENCE);
            return None;
        }
    }
}

/// No rank is left behind.
fn all_gone(folder: &Folder, count: usize) {
    let begin = Instant::now();
    for rank in 0..count {
        let Ok(id) = fs::read_to_string(process(folder, rank)) else {
            continue; // killed before it said so
        };
        while Path::new("/proc").join(&id).join("exe").exists() {
            assert!(
                begin.elapsed() < Duration::from_secs(10),
                "rank {rank} is left"
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}
