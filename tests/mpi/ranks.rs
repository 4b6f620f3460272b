//! Trainings that ranks share.

use wgpu_cnn::data::{Array, Loader, LoaderBuilder, Memory, Transforms};
use wgpu_cnn::distributed::{Mpi, Reducer};
use wgpu_cnn::{Error, Gpu, Model, Optimizer, Result, Trainer, TrainerBuilder};

const CLASSES: usize = 4;

/// Layers of every kind that a training treats by itself: running statistics, masks, weights.
pub fn model() -> Model {
    let model = Model::builder([2, 6, 6]);
    let model = model.conv2d(6, 3).batch_norm().relu().dropout(0.3);
    model
        .flatten()
        .dense(12)
        .tanh()
        .dense(CLASSES)
        .build()
        .unwrap()
}

/// Batches that are drawn in every way there is, the last of an epoch smaller.
pub fn loader(batch: usize) -> LoaderBuilder {
    const EXAMPLES: usize = 47;
    let mut random = fastrand::Rng::with_seed(3);
    let pixels: Vec<u8> = (0..EXAMPLES * 2 * 64).map(|_| random.u8(..)).collect();
    let labels: Vec<u8> = (0..EXAMPLES).map(|at| (at % CLASSES) as u8).collect();
    let memory = Memory::new(Array::new([EXAMPLES, 2, 8, 8], pixels).unwrap(), labels).unwrap();
    let noise = Transforms::new().random_crop(6, 1).flip(0.5);
    let loader = Loader::builder(memory).transforms(noise).batch(batch);
    loader.shuffle(true).seed(5).classes(CLASSES).mixup(0.4)
}

pub fn builder(optimizer: impl Into<Optimizer>, batch: usize) -> TrainerBuilder {
    let builder = Trainer::builder(model()).optimizer(optimizer);
    builder.batch(batch).seed(9).clip_norm(0.8)
}

/// A hash of everything that has a name: parameters and running statistics.
pub fn hash(trainer: &Trainer) -> Result<u64> {
    let mut hash = 0xcbf2_9ce4_8422_2325;
    for (name, _) in trainer.model().parameters() {
        for value in trainer.parameter(name)? {
            for byte in value.to_bits().to_le_bytes() {
                hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
            }
        }
    }
    Ok(hash)
}

fn on(builder: TrainerBuilder, gpu: Option<&Gpu>) -> Result<Trainer> {
    match gpu {
        Some(gpu) => builder.on(gpu),
        None => builder.on_cpu(),
    }
}

/// The hash of what this rank has at the end, and the loss of each of its own batches.
fn train(mut trainer: Trainer, loader: &Loader, ends: bool) -> Result<(u64, Vec<Option<u32>>)> {
    let mut losses = Vec::new();
    for epoch in 0..3 {
        for batch in loader.epoch(epoch) {
            let batch = batch?;
            let is_empty = batch.is_empty();
            trainer.step(&batch.images, batch.targets)?;
            losses.push(match is_empty {
                true => None,
                false => Some(trainer.loss()?.to_bits()),
            });
        }
        if ends {
            trainer.update()?; // what the last round of the ranks is
        }
    }
    Ok((hash(&trainer)?, losses))
}

/// Ranks with a batch each, against one process that accumulates as many.
pub fn same_bits_as_one_process(arguments: &[&str]) {
    let mut mpi = Mpi::new().unwrap();
    let gpu = (arguments == ["gpu"]).then(|| mpi.gpu().unwrap());
    let (rank, size) = (mpi.rank(), mpi.size());
    for (optimizer, batch) in [
        (Optimizer::from(Optimizer::adam(1e-2)), 5),
        (Optimizer::sgd(0.05).momentum(0.9).into(), 8),
    ] {
        let ranks = builder(optimizer, batch).distributed(mpi.clone());
        let share = loader(batch).shard(rank, size).build().unwrap();
        let ranks = train(on(ranks, gpu.as_ref()).unwrap(), &share, false).unwrap();
        let one = builder(optimizer, batch).accumulate(size);
        let whole = loader(batch).build().unwrap();
        let one = train(on(one, gpu.as_ref()).unwrap(), &whole, true).unwrap();
        assert_eq!(ranks.0, one.0, "rank {rank} of {size}: other weights");
        let steps = whole.len();
        for epoch in 0..3 {
            for round in 0..share.len() {
                let (at, own) = (round * size + rank, ranks.1[epoch * share.len() + round]);
                let expected = (at < steps).then(|| one.1[epoch * steps + at]).flatten();
                assert_eq!(
                    own, expected,
                    "rank {rank}: the loss of round {round} of epoch {epoch}"
                );
            }
        }
        // Said to each other, too.
        let all = mpi.gather(&ranks.0.to_le_bytes()).unwrap();
        assert!(all.iter().all(|hash| *hash == ranks.0.to_le_bytes()));
    }
    println!("rank {rank}: the same bits");
}

/// What ranks must agree in: whichever differs, it is told at the start, on every rank.
pub fn disagree() {
    let mut mpi = Mpi::new().unwrap();
    let odd = mpi.rank() == 1;
    let adam = Optimizer::adam(1e-2);
    let other = Model::builder([2, 6, 6])
        .flatten()
        .dense(CLASSES)
        .build()
        .unwrap();
    let builders = [
        if odd {
            Trainer::builder(other)
        } else {
            builder(adam, 5)
        },
        builder(adam, if odd { 6 } else { 5 }),
        builder(Optimizer::adam(if odd { 1e-3 } else { 1e-2 }), 5),
        builder(adam, 5).seed(if odd { 1 } else { 2 }),
        builder(adam, 5).accumulate(if odd { 2 } else { 1 }),
    ];
    for (at, builder) in builders.into_iter().enumerate() {
        let error = builder.distributed(mpi.clone()).on_cpu().unwrap_err();
        assert!(
            matches!(error, Error::Rank { rank: 1, .. }),
            "{at}: {error}"
        );
    }
    mpi.barrier().unwrap(); // what they disagreed in has put nobody out of step
    println!("rank {}: was told", mpi.rank());
}
