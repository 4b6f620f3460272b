//! Where the parameters lie: slabs, each updated by one dispatch.

use super::Task;
use crate::gpu::kernel::Format;
use crate::gpu::record::{Recording, Region, Storage};
use crate::gpu::tensor::padded;
use crate::{Error, Result};

/// Parameters that lie in one buffer and are updated by one dispatch.
#[derive(Debug)]
pub(in crate::engine) struct Slab {
    pub parameter: Region,
    /// The copy in half precision, made anew when the parameters have changed.
    pub copy: Option<Region>,
    pub gradient: Region,
    /// The sum of the gradients of micro-batches.
    pub sum: Option<Region>,
    pub state: Vec<Region>,
}

impl Slab {
    /// The gradient that the optimizer takes.
    pub fn total(&self) -> Region {
        self.sum.unwrap_or(self.gradient)
    }

    pub fn vectors(&self) -> usize {
        (self.parameter.size / 16) as usize
    }
}

/// Where a parameter lies.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    /// The slab, or `None` for a statistic.
    pub slab: Option<usize>,
    offset: u64,
    size: u64,
}

impl Place {
    /// Its part of a slab of either format.
    pub fn within(self, slab: Region) -> Region {
        let scaled = |bytes: u64| bytes / 4 * slab.format.size();
        Region {
            offset: scaled(self.offset),
            size: padded(scaled(self.size)),
            ..slab
        }
    }
}

/// Lays the parameters out, each at an offset that a binding may begin at, in as few slabs as
/// their size allows, and the statistics in a buffer of their own.
pub(super) fn place_parameters(
    task: &Task,
    recording: &mut Recording,
) -> Result<(Vec<Slab>, Option<Region>, Vec<Place>)> {
    let traits = recording.traits;
    let max_slab = task
        .options
        .max_slab
        .min(traits.max_binding)
        .min(traits.max_buffer);
    // An element in a copy of half the size must be where a binding may begin, too.
    let alignment = match task.options.half {
        true => 2 * traits.storage_alignment,
        false => traits.storage_alignment,
    };
    let (mut sizes, mut places, mut statistics) = (Vec::<u64>::new(), Vec::new(), 0);
    for parameter in task.model.graph.parameters() {
        let size = (parameter.shape.len() as u64 * 4).next_multiple_of(16);
        if !parameter.is_learned() {
            places.push(Place {
                slab: None,
                offset: statistics,
                size,
            });
            statistics = (statistics + size).next_multiple_of(traits.storage_alignment);
            continue;
        }
        if size > max_slab {
            return Err(Error::Limit {
                limit: "max_storage_buffer_binding_size",
                what: format!("parameter {}", parameter.name),
                needed: size,
                available: max_slab,
            });
        }
        let offset = sizes.last().map(|end| end.next_multiple_of(alignment));
        let offset = offset.filter(|offset| offset + size <= max_slab);
        let offset = offset.unwrap_or_else(|| {
            sizes.push(0);
            0
        });
        places.push(Place {
            slab: Some(sizes.len() - 1),
            offset,
            size,
        });
        if let Some(end) = sizes.last_mut() {
            *end = offset + size;
        }
    }
    let mut persistent = |format, label: &str, size: u64| {
        recording.buffer_of(format, label, size as usize / 4, Storage::Persistent)
    };
    let slabs = sizes.into_iter().map(|size| {
        let mut single = |label| persistent(Format::F32, label, size);
        Slab {
            parameter: single("parameters"),
            gradient: single("gradients"),
            sum: (task.options.accumulate > 1).then(|| single("gradient sums")),
            state: (0..task.optimizer.state_slots())
                .map(|_| single("optimizer state"))
                .collect(),
            copy: (task.options.half)
                .then(|| persistent(Format::F16, "half-precision weights", size)),
        }
    });
    let slabs = slabs.collect();
    let statistics = (statistics > 0).then(|| persistent(Format::F32, "statistics", statistics));
    Ok((slabs, statistics, places))
}
