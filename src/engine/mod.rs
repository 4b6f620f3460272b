//! A model and a batch size, made runnable: lowered to kernels and planned on a GPU, or walked on
//! the CPU.

mod lower;
mod memory;
mod plan;
mod reference;
mod step;
mod verify;

#[cfg(test)]
pub(crate) use lower::record;
pub use memory::MemoryReport;
pub(crate) use plan::{Plan, PlanOptions};
pub use reference::Reference;
pub use verify::{Check, VerifyReport};
