//! Trains the network of `fashion_mnist` on several ranks at once, and says what they gain and that they come to the
//! bits of one process.
//!
//! ```sh
//! cargo run --release --example distributed                      # 1, 2 and 4 ranks, a thread each
//! cargo run --release --example distributed -- --ranks 1,2 --device cpu
//! cargo run --release --example distributed -- --ranks 2 --sums 1000,1000000
//!
//! cargo build --release --features mpi --example distributed     # needs Open MPI and libclang
//! mpirun -n 2 target/release/examples/distributed --mpi
//! ```
//!
//! Each rank takes its own batches of the training images: with a batch of 64, two ranks make an update of 128. The
//! table has a line for each number of ranks: images per second of all of them together, the efficiency, which is
//! that rate by those of as many single ranks, the milliseconds of an update in which gradients were added up, a hash of
//! the weights, and that of one process which accumulates as many batches. The last two are the same.
//!
//! With `--sums` they only add up so many numbers, and say how long it takes: what a network of as many parameters pays
//! for an update.
//!
//! Ranks that share a processor or an adapter share its speed as well. By default they are one each; for what one of
//! several machines would do, each rank can be held to a core: `LP_NUM_THREADS=0` for lavapipe,
//! `RAYON_NUM_THREADS=1` for the CPU reference.

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use clap::{Parser, ValueEnum};
use wgpu_cnn::data::{Loader, LoaderBuilder, Memory, Split};
use wgpu_cnn::distributed::{Reducer, Subnormals, Team};
use wgpu_cnn::{Gpu, Model, Optimizer, Result, Trainer, TrainerBuilder};

/// Train a convolutional network on several ranks.
#[derive(Parser)]
struct Options {
    /// Ranks that train together, a thread each: a list of numbers, tried one after the other
    #[arg(long, value_delimiter = ',', default_value = "1,2,4")]
    ranks: Vec<usize>,
    /// Be one of the ranks that `mpirun` has started
    #[cfg(feature = "mpi")]
    #[arg(long)]
    mpi: bool,
    /// Images in a batch of a rank
    #[arg(long, default_value_t = 64)]
    batch: usize,
    /// Updates that are timed, after a first one
    #[arg(long, default_value_t = 20)]
    updates: usize,
    /// Train nothing, and take the time of sums of so many numbers
    #[arg(long, value_delimiter = ',', value_name = "NUMBERS")]
    sums: Vec<usize>,
    /// What the initial weights and the order of the images are drawn from
    #[arg(long, default_value_t = 7)]
    seed: u64,
    /// What trains: graphics adapters, in turn where there are several, or the CPU reference
    #[arg(long, value_enum, default_value_t = Device::Gpu)]
    device: Device,
    /// Folder with the four IDX files, gzipped or not
    #[arg(long, value_name = "DIR",
        default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/data/fashion-mnist"))]
    data: PathBuf,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Device {
    Gpu,
    Cpu,
}

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> std::result::Result<(), Box<dyn Error>> {
    let images = Arc::new(Memory::read_mnist(&options.data, Split::Train)?);
    #[cfg(feature = "mpi")]
    if options.mpi {
        return Ok(under_mpirun(&images, options)?);
    }
    if !options.sums.is_empty() {
        for &ranks in &options.ranks {
            Team::new(ranks)?.run(|member, _| sums(member, &options.sums))?;
        }
        return Ok(());
    }
    let mut single = None;
    heading();
    for &ranks in &options.ranks {
        let of_each = Team::new(ranks)?.run(|member, rank| {
            let gpu = gpu(rank, options)?;
            train(&images, member, gpu.as_ref(), options)
        })?;
        let trained = together(&of_each);
        let rate = *single.get_or_insert(trained.rate / ranks as f64);
        let alone = alone(ranks, &images, options)?;
        line(ranks, &trained, Some(rate), alone);
    }
    Ok(())
}

/// One line of the table, by rank 0.
#[cfg(feature = "mpi")]
fn under_mpirun(images: &Arc<Memory>, options: &Options) -> Result<()> {
    use wgpu_cnn::distributed::Mpi;
    let mpi = Mpi::new()?;
    if !options.sums.is_empty() {
        return sums(mpi, &options.sums);
    }
    let (rank, ranks) = (mpi.rank(), mpi.size());
    let gpu = gpu(mpi.local_rank(), options)?;
    // The ranks are no more once their trainers are gone.
    let trained = train(images, mpi, gpu.as_ref(), options)?;
    if rank == 0 {
        heading();
        line(ranks, &trained, None, alone(ranks, images, options)?);
    }
    Ok(())
}

/// Takes the time of sums; rank 0 tells the median.
fn sums(mut reducer: impl Reducer, counts: &[usize]) -> Result<()> {
    const ROUNDS: usize = 21;
    for &count in counts {
        let mut values = vec![0.0; count];
        let mut times = Vec::new();
        for _ in 0..ROUNDS {
            reducer.barrier()?;
            let begin = Instant::now();
            reducer.sum(&mut values, Subnormals::Kept)?;
            times.push(begin.elapsed());
        }
        times.sort_unstable();
        if reducer.rank() == 0 {
            let [least, median] = [0, ROUNDS / 2].map(|at| 1e3 * times[at].as_secs_f64());
            let ranks = reducer.size();
            println!("{ranks} ranks, {count} numbers: {median:.3} ms, at least {least:.3} ms");
        }
    }
    Ok(())
}

/// What a rank has come to.
struct Trained {
    /// Images per second, of all ranks.
    rate: f64,
    /// The time of an update in which gradients were added up.
    adding: Duration,
    hash: u64,
}

/// The slowest is what all waited for.
fn together(of_each: &[Trained]) -> Trained {
    let hash = of_each[0].hash;
    assert!(
        of_each.iter().all(|other| other.hash == hash),
        "ranks differ"
    );
    Trained {
        rate: of_each
            .iter()
            .map(|of| of.rate)
            .fold(f64::INFINITY, f64::min),
        adding: of_each.iter().map(|of| of.adding).max().unwrap_or_default(),
        hash,
    }
}

fn heading() {
    println!("ranks  images/s  efficiency  adding up  weights           of one process");
}

fn line(ranks: usize, trained: &Trained, single: Option<f64>, alone: u64) {
    let Trained { rate, adding, hash } = trained;
    let efficiency = single.map(|single| 100.0 * rate / (ranks as f64 * single));
    let efficiency = efficiency.map_or("-".into(), |percent| format!("{percent:.0} %"));
    let adding = 1e3 * adding.as_secs_f64();
    println!("{ranks:5}  {rate:8.0}  {efficiency:>10}  {adding:6.2} ms  {hash:016x}  {alone:016x}");
}

fn gpu(rank: usize, options: &Options) -> Result<Option<Gpu>> {
    match options.device {
        Device::Gpu => Gpu::builder().in_turn(rank).build().map(Some),
        Device::Cpu => Ok(None),
    }
}

fn builder(images: &Memory, options: &Options) -> Result<TrainerBuilder> {
    #[rustfmt::skip]
    let model = Model::builder(images.example_shape())
        .conv2d(32, 5).relu().max_pool2d(2)
        .conv2d(64, 5).relu().max_pool2d(2)
        .flatten().dense(128).relu().dense(10)
        .build()?;
    let builder = Trainer::builder(model).optimizer(Optimizer::adam(1e-3));
    Ok(builder.batch(options.batch).seed(options.seed))
}

fn on(builder: TrainerBuilder, gpu: Option<&Gpu>) -> Result<Trainer> {
    match gpu {
        Some(gpu) => builder.on(gpu),
        None => builder.on_cpu(),
    }
}

fn loader(images: &Arc<Memory>, options: &Options) -> LoaderBuilder {
    let loader = Loader::builder(images.clone()).batch(options.batch);
    loader.shuffle(true).seed(options.seed)
}

/// Trains as one of several ranks.
fn train(
    images: &Arc<Memory>,
    reducer: impl Reducer + 'static,
    gpu: Option<&Gpu>,
    options: &Options,
) -> Result<Trained> {
    let (rank, ranks) = (reducer.rank(), reducer.size());
    let adding = Arc::new(AtomicU64::new(0));
    let timed = Timed {
        reducer,
        nanoseconds: adding.clone(),
    };
    let order = format!("shuffled by {}", options.seed);
    let builder = builder(images, options)?.distributed(timed);
    let builder = builder.ranks_agree_on("data order", order);
    let mut trainer = on(builder, gpu)?;
    let share = loader(images, options).shard(rank, ranks).build()?;
    // However few images there are.
    let mut batches = (0..).flat_map(|epoch| share.epoch(epoch));
    let (mut begin, mut seen) = (Instant::now(), 0);
    for update in 0..=options.updates {
        let Some(batch) = batches.next().transpose()? else {
            break;
        };
        if update > 0 {
            seen += batch.len();
        }
        trainer.step(&batch.images, batch.targets)?;
        if update == 0 {
            trainer.wait_for_ranks()?; // the first may have compiled something
            adding.store(0, Ordering::Relaxed);
            begin = Instant::now();
        }
    }
    let hash = hash(&trainer)?; // waits for the device
    let seconds = begin.elapsed().as_secs_f64();
    let updates = options.updates.max(1) as u64;
    Ok(Trained {
        // The ranks' batches are of one size, but for the last of an epoch.
        rate: (seen * ranks) as f64 / seconds,
        adding: Duration::from_nanos(adding.load(Ordering::Relaxed) / updates),
        hash,
    })
}

/// The same updates by one process, which takes the ranks' batches one after the other.
fn alone(ranks: usize, images: &Arc<Memory>, options: &Options) -> Result<u64> {
    let gpu = gpu(0, options)?;
    let mut trainer = on(builder(images, options)?.accumulate(ranks), gpu.as_ref())?;
    let loader = loader(images, options).build()?;
    let mut left = options.updates + 1;
    for epoch in 0.. {
        let batches: usize = loader.len().min(left.saturating_mul(ranks));
        for batch in loader.epoch(epoch).take(batches) {
            let batch = batch?;
            trainer.step(&batch.images, batch.targets)?;
        }
        trainer.update()?; // where the last round of an epoch has no batch for some of the ranks
        left -= batches.div_ceil(ranks);
        if left == 0 {
            break;
        }
    }
    hash(&trainer)
}

/// A hash of all weights (Fowler, Noll and Vo).
fn hash(trainer: &Trainer) -> Result<u64> {
    let mut hash = 0xcbf2_9ce4_8422_2325;
    for (name, _) in trainer.model().parameters() {
        for byte in trainer
            .parameter(name)?
            .into_iter()
            .flat_map(f32::to_le_bytes)
        {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    Ok(hash)
}

/// Counts the time in which gradients are added up: a reducer of one's own, around any other.
struct Timed<R> {
    reducer: R,
    nanoseconds: Arc<AtomicU64>,
}

impl<R: Reducer> Timed<R> {
    fn time<T>(&mut self, what: impl FnOnce(&mut R) -> T) -> T {
        let begin = Instant::now();
        let result = what(&mut self.reducer);
        let spent = begin.elapsed().as_nanos() as u64;
        self.nanoseconds.fetch_add(spent, Ordering::Relaxed);
        result
    }
}

impl<R: Reducer> Reducer for Timed<R> {
    fn rank(&self) -> usize {
        self.reducer.rank()
    }

    fn size(&self) -> usize {
        self.reducer.size()
    }

    fn sum(&mut self, values: &mut [f32], subnormals: Subnormals) -> Result<()> {
        self.time(|reducer| reducer.sum(values, subnormals))
    }

    fn sum_f64(&mut self, values: &mut [f64]) -> Result<()> {
        self.time(|reducer| reducer.sum_f64(values))
    }

    fn broadcast(&mut self, bytes: &mut [u8], root: usize) -> Result<()> {
        self.reducer.broadcast(bytes, root)
    }

    fn barrier(&mut self) -> Result<()> {
        self.reducer.barrier()
    }

    fn gather(&mut self, bytes: &[u8]) -> Result<Vec<Vec<u8>>> {
        self.reducer.gather(bytes)
    }
}
