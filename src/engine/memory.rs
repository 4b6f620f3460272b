//! What memory a plan takes, known before anything is allocated.

use std::fmt;
use std::ops::Range;

use crate::gpu::record::{Recording, Storage};

use super::lower::{Lowered, Slab};

/// The device memory of a [`Trainer`](crate::Trainer) in bytes, by purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MemoryReport {
    /// The learned values, those that are not (running statistics, and what is fixed or reached by no
    /// loss), and the copies of the learned values in half precision.
    pub parameters: u64,
    /// Their gradients.
    pub gradients: u64,
    /// What the optimizer keeps between steps.
    pub optimizer_state: u64,
    /// The average of the learned values over the updates.
    pub average: u64,
    /// Activations, their gradients and scratch space, shared by those whose lives do not overlap, and
    /// filters rearranged as some kernels read them.
    pub activations: u64,
    /// What the activations, their gradients and scratch space would take without sharing.
    pub activations_unshared: u64,
    /// Inputs, constants, targets, outputs and losses of a batch.
    pub batch: u64,
    /// Upload and read-back buffers and the kernels' params.
    pub staging: u64,
}

impl MemoryReport {
    /// All of it, saturating.
    pub fn total(&self) -> u64 {
        let Self {
            parameters,
            gradients,
            optimizer_state,
            average,
            activations,
            batch,
            staging,
            activations_unshared: _,
        } = self;
        let kept = [gradients, optimizer_state, average];
        let parts = kept.into_iter().chain([activations, batch, staging]);
        parts.fold(*parameters, |sum, part| sum.saturating_add(*part))
    }
}

impl fmt::Display for MemoryReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        write!(
            f,
            "{:.1} MiB: parameters {:.1}, gradients {:.1}, optimizer {:.1}{}, activations {:.1} \
             ({:.1} without sharing), batch {:.1}, staging {:.1}",
            mib(self.total()),
            mib(self.parameters),
            mib(self.gradients),
            mib(self.optimizer_state),
            match self.average {
                0 => String::new(),
                bytes => format!(", average {:.1}", mib(bytes)),
            },
            mib(self.activations),
            mib(self.activations_unshared),
            mib(self.batch),
            mib(self.staging),
        )
    }
}

/// Bytes of a staging buffer.
pub(super) fn upload_size(lowered: &Lowered, params: u64) -> u64 {
    let inputs: u64 = lowered.inputs.iter().map(|input| input.size).sum();
    // Of each loss its target, or the gradient that the caller computes.
    let targets = lowered
        .losses
        .iter()
        .map(|loss| match loss.range.is_empty() {
            true => loss.logits[1].size,
            false => loss.values.size.max(loss.labels.size),
        });
    // The statistics of a rank's batch come by themselves.
    let statistics = lowered.apart.as_ref().map_or(0, |apart| apart.region.size);
    params + (inputs + targets.sum::<u64>()).max(statistics)
}

/// Bytes of gradients that are read back at a time.
pub(super) const STRETCH: u64 = 16 << 20;

/// Bytes of the largest read-back: an output, or what ranks tell each other.
pub(super) fn largest_output(lowered: &Lowered) -> u64 {
    let outputs = lowered.outputs.iter().map(|output| output.size);
    let together = lowered.ranks > 1;
    let slabs = lowered.slabs.iter().filter(|_| together);
    let slabs = slabs.map(|slab| slab.gradient.size.min(STRETCH));
    let apart = lowered.apart.iter().map(|apart| apart.region.size);
    outputs.chain(slabs).chain(apart).max().unwrap_or(0)
}

/// The buffers that a plan has beside those of its recording, and the bytes of each.
pub(super) fn staging_sizes(lowered: &Lowered) -> [(&'static str, u64); 3] {
    let params = all_params_size(&lowered.recording);
    [
        ("params", params),
        ("upload of a batch", upload_size(lowered, params)),
        ("read-back of the output", largest_output(lowered)),
    ]
}

/// Bytes of the params of a range of the dispatches.
pub(super) fn params_size(recording: &Recording, range: Range<usize>) -> u64 {
    let alignment = recording.traits.uniform_alignment;
    let params = recording.dispatches[range].iter();
    params
        .map(|dispatch| (dispatch.params.len() as u64).next_multiple_of(alignment))
        .sum()
}

/// Bytes of the params of all dispatches.
pub(super) fn all_params_size(recording: &Recording) -> u64 {
    params_size(recording, 0..recording.dispatches.len())
}

/// What a lowered model takes with so many steps in flight.
pub(super) fn memory_report(lowered: &Lowered, in_flight: usize) -> MemoryReport {
    let recording = &lowered.recording;
    let sum = |region: fn(&Slab) -> u64| lowered.slabs.iter().map(region).sum();
    let assignment = recording.assign();
    let shared = assignment.sizes.iter().zip(&assignment.transient);
    let shared = shared.filter(|(_, transient)| **transient);
    let shared: u64 = shared.map(|(size, _)| size).sum();
    let stored = |storage: fn(&Storage) -> bool| -> u64 {
        let buffers = recording.buffers.iter().filter(|b| storage(&b.storage));
        buffers.map(|buffer| buffer.size).sum()
    };
    let transient = stored(|storage| matches!(storage, Storage::Transient));
    let kept = stored(|storage| matches!(storage, Storage::Persistent | Storage::Constant(_)));
    let params = all_params_size(recording);
    let parameters = sum(|slab| slab.parameter.size + slab.copy.map_or(0, |copy| copy.size))
        + lowered
            .unlearned
            .iter()
            .map(|buffer| buffer.size)
            .sum::<u64>();
    let gradients = sum(|slab| slab.gradient.size + slab.sum.map_or(0, |sum| sum.size));
    let optimizer_state = sum(|slab| slab.state.iter().map(|state| state.size).sum());
    let average = sum(|slab| slab.average.map_or(0, |average| average.size));
    let of_losses = lowered.losses.iter().flat_map(|loss| {
        let own = [loss.labels, loss.values, loss.loss].map(Some);
        own.into_iter().chain([loss.loss_weights]).flatten()
    });
    let own = [&lowered.inputs, &lowered.constants, &lowered.outputs];
    let of_batch = own.into_iter().flatten().copied().chain(of_losses);
    let batch: u64 = of_batch.map(|region| region.size).sum();
    // What is made of the parameters when they change: filters rearranged.
    let scratch = kept - parameters - gradients - optimizer_state - average - batch;
    MemoryReport {
        parameters,
        gradients,
        optimizer_state,
        average,
        activations: shared + scratch,
        activations_unshared: transient + scratch,
        batch,
        staging: params + in_flight as u64 * upload_size(lowered, params) + largest_output(lowered),
    }
}
