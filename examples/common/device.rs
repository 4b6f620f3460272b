//! What trains: a graphics adapter, or the CPU where none is wanted or found.

use clap::ValueEnum;
use wgpu_cnn::{Error, Gpu, Result, Trainer, TrainerBuilder};

#[derive(Clone, Copy, ValueEnum)]
pub enum Device {
    Gpu,
    Cpu,
}

impl Device {
    /// The adapter, or nothing where the CPU is to train; where there is no adapter, one line says
    /// so.
    pub fn open(self) -> Result<Option<Gpu>> {
        match self {
            Self::Cpu => Ok(None),
            Self::Gpu => match Gpu::new() {
                Err(error @ Error::NoAdapter { .. }) => {
                    println!("{error}; going on with the CPU reference");
                    Ok(None)
                }
                gpu => gpu.map(Some),
            },
        }
    }
}

/// The name of what trains.
pub fn name(gpu: Option<&Gpu>) -> String {
    gpu.map_or("cpu".into(), |gpu| format!("gpu {}", gpu.info().name))
}

/// A trainer there.
pub fn trainer(builder: TrainerBuilder, gpu: Option<&Gpu>) -> Result<Trainer> {
    match gpu {
        Some(gpu) => builder.on(gpu),
        None => builder.on_cpu(),
    }
}
