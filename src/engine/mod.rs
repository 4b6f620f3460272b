//! A model and a batch size, made runnable: lowered to kernels and planned on a GPU, or walked on
//! the CPU.
#![deny(clippy::wildcard_enum_match_arm)]

#[cfg(feature = "native")]
mod autotune;
#[doc(hidden)]
pub mod catalogue;
mod compare;
mod compiled;
mod data;
mod look;
mod lower;
mod memory;
mod operators;
mod pipelines;
mod plan;
mod prediction;
mod profile;
mod profile_table;
mod reference;
mod round;
mod state;
mod step;
mod tolerance;
mod verify;
mod wanted;
mod whole;

#[cfg(feature = "native")]
pub(crate) use autotune::{ChoiceStore, Found, known_choices};
pub(crate) use look::{HostLook, LookPlan, LookTask};
pub(crate) use lower::PlanOptions;
#[cfg(test)]
pub(crate) use lower::{record, record_in_pieces, record_of_ranks};
pub use memory::MemoryReport;
pub(crate) use plan::{Batch, Plan, subnormals};
pub(crate) use prediction::{HostPrediction, Landing, PredictionPlan, PredictionTask};
pub(crate) use profile::Profiling;
pub use profile::{Profile, ProfileEntry};
pub use reference::Reference;
pub(crate) use reference::Rules;
pub(crate) use reference::loss_by_itself;
pub(crate) use round::Round;
pub(crate) use state::{Counts, ParameterState};
pub use verify::{Check, VerifyReport};
pub(crate) use wanted::Wanted;
pub(crate) use whole::WholeLosses;

use crate::op::Average;
use crate::{Error, Result};

/// Refuses to exchange the parameters with an average that is not kept.
fn check_averages(average: Option<Average>) -> Result<()> {
    match average {
        Some(_) => Ok(()),
        None => Err(Error::argument("average", "none is kept")),
    }
}

/// An error that no input can cause.
fn internal(message: &str) -> Error {
    let message = format!("{message}: a defect of wgpu-cnn, please report it");
    Error::Gpu { message }
}
