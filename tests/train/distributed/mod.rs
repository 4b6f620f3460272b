//! Several trainers that train together, in threads of one process.

mod bits;
mod disagreements;
mod faults;
mod files;
mod refused;
mod states;

use wgpu_cnn::distributed::Member;
use wgpu_cnn::{Error, Gpu, Result, Trainer, TrainerBuilder};

use crate::checkpoint::setup::{Feature, Setup};

/// Where the trainer of a rank is made.
#[derive(Clone)]
pub enum Place {
    Cpu,
    Gpu(Gpu),
}

impl Place {
    pub fn make(&self, builder: TrainerBuilder) -> Result<Trainer> {
        match self {
            Self::Cpu => builder.on_cpu(),
            Self::Gpu(gpu) => builder.on(gpu),
        }
    }
}

/// The CPU, and the GPU where there is one.
pub fn places() -> Vec<Place> {
    let gpu = crate::common::plain_gpu();
    let gpu = gpu.map(|gpu| Place::Gpu(gpu.clone()));
    [Place::Cpu].into_iter().chain(gpu).collect()
}

/// Almost everything at once.
pub fn everything() -> Setup {
    Setup::of(&[
        Feature::AmsGrad,
        Feature::Dropout,
        Feature::StochasticDepth,
        Feature::PartialBatch,
        Feature::SeveralLosses,
        Feature::IgnoredLabels,
        Feature::Clip,
        Feature::BatchNorm,
        Feature::CumulativeBatchNorm,
        Feature::Average,
    ])
}

/// A rank's trainer.
pub fn rank(setup: &Setup, place: &Place, member: Member) -> Result<Trainer> {
    place.make(setup.builder().distributed(member))
}

/// The tensors of a checkpoint, without the header that tells of them.
pub fn tensors(checkpoint: &[u8]) -> &[u8] {
    let header: [u8; 8] = checkpoint[..8].try_into().unwrap();
    &checkpoint[8 + u64::from_le_bytes(header) as usize..]
}

/// Whether an error names a rank.
#[track_caller]
pub fn assert_names(result: Result<()>, rank: usize, words: &str) {
    match result {
        Err(Error::Rank {
            rank: named,
            reason,
        }) => {
            assert_eq!(named, rank, "{reason}");
            assert!(reason.contains(words), "{reason}");
        }
        other => panic!("rank {rank} is not named: {other:?}"),
    }
}
