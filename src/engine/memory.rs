//! What memory a plan takes, known before anything is allocated.

use std::fmt;

/// The device memory of a [`Trainer`](crate::Trainer) in bytes, by purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MemoryReport {
    /// The learned values.
    pub parameters: u64,
    /// Their gradients.
    pub gradients: u64,
    /// What the optimizer keeps between steps.
    pub optimizer_state: u64,
    /// Activations, their gradients and scratch space, shared by those whose lives do not overlap.
    pub activations: u64,
    /// What the activations, their gradients and scratch space would take without sharing.
    pub activations_unshared: u64,
    /// Input, target, output and loss of a batch.
    pub batch: u64,
    /// Upload and read-back buffers and the kernels' params.
    pub staging: u64,
}

impl MemoryReport {
    /// All of it.
    pub fn total(&self) -> u64 {
        let Self {
            parameters,
            gradients,
            optimizer_state,
            activations,
            batch,
            staging,
            ..
        } = self;
        parameters + gradients + optimizer_state + activations + batch + staging
    }
}

impl fmt::Display for MemoryReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        write!(
            f,
            "{:.1} MiB: parameters {:.1}, gradients {:.1}, optimizer {:.1}, activations {:.1} \
             ({:.1} without sharing), batch {:.1}, staging {:.1}",
            mib(self.total()),
            mib(self.parameters),
            mib(self.gradients),
            mib(self.optimizer_state),
            mib(self.activations),
            mib(self.activations_unshared),
            mib(self.batch),
            mib(self.staging),
        )
    }
}
