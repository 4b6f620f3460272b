//! A model and a batch size, made runnable: lowered to kernels and planned on a GPU, or walked on
//! the CPU.

#[cfg(feature = "native")]
mod autotune;
mod lower;
mod memory;
mod plan;
mod profile;
mod profile_table;
mod reference;
mod verify;

#[cfg(feature = "native")]
pub(crate) use autotune::{Place, known_choices};
#[cfg(test)]
pub(crate) use lower::record;
pub use memory::MemoryReport;
pub(crate) use plan::{Plan, PlanOptions};
pub(crate) use profile::profile;
pub use profile::{Profile, ProfileEntry};
pub use reference::Reference;
pub use verify::{Check, VerifyReport};
