//! Recording: which kernels run in which order on which buffers. Nothing of it touches a device, so
//! what a model will do, and what memory that takes, is known before anything is allocated.

use super::kernel::{Kernel, Params};
use super::strategy::{LOOP_LIMIT, Traits};
use super::tensor::padded;
use crate::{Error, Result};

/// Workgroups along one dimension beyond which a grid folds into the next: `FOLD` in the shaders.
pub(crate) const FOLD: u64 = 32_768;

/// A buffer of a recording.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct BufferId(pub usize);

/// A part of a buffer, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Region {
    pub buffer: BufferId,
    pub offset: u64,
    pub size: u64,
}

/// Where a buffer's memory comes from.
#[derive(Debug, Clone)]
pub(crate) enum Storage {
    /// Kept between runs.
    Persistent,
    /// Needed from its first dispatch to its last; the memory serves others before and after.
    Transient,
    /// Somebody else's.
    Bound(wgpu::Buffer),
}

#[derive(Debug, Clone)]
pub(crate) struct BufferInfo {
    pub label: String,
    pub size: u64,
    pub storage: Storage,
}

/// One kernel at work.
#[derive(Debug, Clone)]
pub(crate) struct Dispatch {
    pub kernel: &'static Kernel,
    pub constants: Vec<(&'static str, f64)>,
    /// `None` where an optional input is absent.
    pub bindings: Vec<Option<Region>>,
    pub params: Vec<u8>,
    pub workgroups: [u32; 3],
    /// The layer that it works for.
    pub label: String,
    /// What the step fills in.
    pub varies: Varies,
}

/// What of a dispatch's params is known only when its step runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Varies {
    Nothing,
    /// The loss's normalisation and the kind of target.
    Loss,
    /// The same for the total.
    LossTotal,
    /// The seed and the step.
    Dropout,
    /// The factor that makes a mean of the gradients of micro-batches.
    Clip,
    /// The learning rate and the step's corrections.
    Optimizer {
        /// The slab's length in vectors of four.
        vectors: u32,
    },
}

/// Kernels in the order of their execution, and the buffers that they work on.
#[derive(Debug)]
pub(crate) struct Recording {
    pub traits: Traits,
    pub buffers: Vec<BufferInfo>,
    pub dispatches: Vec<Dispatch>,
    label: String,
    error: Option<Error>,
}

impl Recording {
    pub fn new(traits: Traits) -> Self {
        Self {
            traits,
            buffers: vec![],
            dispatches: vec![],
            label: String::new(),
            error: None,
        }
    }

    /// Names the layer that the next dispatches work for.
    pub fn set_label(&mut self, label: impl Into<String>) {
        self.label = label.into();
    }

    /// A buffer of `len` four-byte elements.
    pub fn buffer(&mut self, label: impl Into<String>, len: usize, storage: Storage) -> Region {
        let (buffer, size) = (BufferId(self.buffers.len()), padded(len as u64 * 4));
        let label = label.into();
        if size > self.traits.max_buffer && self.error.is_none() {
            self.error = Some(Error::Limit {
                limit: "max_buffer_size",
                what: format!("{}: {label}", self.label),
                needed: size,
                available: self.traits.max_buffer,
            });
        }
        self.buffers.push(BufferInfo {
            label,
            size,
            storage,
        });
        Region {
            buffer,
            offset: 0,
            size,
        }
    }

    /// A buffer that lives from its first use to its last.
    pub fn transient(&mut self, label: impl Into<String>, len: usize) -> Region {
        self.buffer(label, len, Storage::Transient)
    }

    /// Adds a dispatch. `bindings` are in the kernel's order.
    pub fn dispatch<P: Params>(
        &mut self,
        kernel: &'static Kernel,
        constants: &[(&'static str, f64)],
        bindings: &[Option<Region>],
        params: P,
        workgroups: [u64; 3],
    ) {
        debug_assert_eq!(kernel.params, P::LAYOUT, "{}", kernel.name);
        debug_assert_eq!(kernel.bindings.len(), bindings.len(), "{}", kernel.name);
        let known = |(name, _): &(&str, f64)| kernel.constants.contains(name);
        debug_assert!(constants.iter().all(known), "{}", kernel.name);
        let label = self.label.clone();
        for region in bindings.iter().flatten() {
            if region.size > self.traits.max_binding {
                self.error.get_or_insert(Error::Limit {
                    limit: "max_storage_buffer_binding_size",
                    what: format!("{label}: {}", self.buffers[region.buffer.0].label),
                    needed: region.size,
                    available: self.traits.max_binding,
                });
            }
        }
        let workgroups = workgroups.map(|count| {
            u32::try_from(count)
                .ok()
                .filter(|&count| count <= 65_535)
                .unwrap_or_else(|| {
                    self.error.get_or_insert(Error::Limit {
                        limit: "max_compute_workgroups_per_dimension",
                        what: format!("{label}: {}", kernel.name),
                        needed: count,
                        available: 65_535,
                    });
                    0
                })
        });
        self.dispatches.push(Dispatch {
            kernel,
            constants: constants.to_vec(),
            bindings: bindings.to_vec(),
            params: bytemuck::bytes_of(&params).to_vec(),
            workgroups,
            label,
            varies: Varies::Nothing,
        });
    }

    /// Says that the last dispatch's params change from step to step.
    pub fn varies(&mut self, varies: Varies) {
        if let Some(dispatch) = self.dispatches.last_mut() {
            dispatch.varies = varies;
        }
    }

    /// Says how many iterations the loops of one invocation of the next dispatch make.
    pub fn iterations(&mut self, count: usize) {
        if self.traits.software && count > LOOP_LIMIT {
            self.error.get_or_insert(Error::Limit {
                limit: "loop iterations of a software adapter",
                what: self.label.clone(),
                needed: count as u64,
                available: LOOP_LIMIT as u64,
            });
        }
    }

    /// The recording, or the first limit that it breaks.
    pub fn finish(self) -> Result<Self> {
        match self.error {
            Some(error) => Err(error),
            None => Ok(self),
        }
    }

    /// Gives each buffer its memory: the index of a physical buffer, and the sizes of those.
    /// Transient buffers whose lives do not overlap share one, the large ones choosing first;
    /// persistent ones have one each, and bound ones none.
    pub fn assign(&self) -> Assignment {
        let mut lives: Vec<Option<(usize, usize)>> = vec![None; self.buffers.len()];
        for (time, dispatch) in self.dispatches.iter().enumerate() {
            for region in dispatch.bindings.iter().flatten() {
                let life = lives[region.buffer.0].get_or_insert((time, time));
                life.1 = time;
            }
        }
        let mut assignment = Assignment {
            slots: vec![None; self.buffers.len()],
            sizes: vec![],
            transient: vec![],
        };
        let mut transients = Vec::new();
        for (id, buffer) in self.buffers.iter().enumerate() {
            match (&buffer.storage, lives[id]) {
                (Storage::Persistent, _) => {
                    assignment.slots[id] = Some(assignment.sizes.len());
                    assignment.sizes.push(buffer.size);
                    assignment.transient.push(false);
                }
                (Storage::Transient, Some(life)) => transients.push((id, life)),
                (Storage::Transient, None) | (Storage::Bound(_), _) => {}
            }
        }
        transients.sort_by_key(|&(id, life)| (std::cmp::Reverse(self.buffers[id].size), life));
        let mut tenants: Vec<Vec<(usize, usize)>> = vec![vec![]; assignment.sizes.len()];
        for (id, life) in transients {
            let apart = |other: &(usize, usize)| other.1 < life.0 || life.1 < other.0;
            let free = (0..tenants.len())
                .find(|&slot| assignment.transient[slot] && tenants[slot].iter().all(apart));
            let slot = free.unwrap_or_else(|| {
                assignment.sizes.push(self.buffers[id].size);
                assignment.transient.push(true);
                tenants.push(vec![]);
                tenants.len() - 1
            });
            tenants[slot].push(life);
            assignment.slots[id] = Some(slot);
        }
        assignment
    }
}

/// Which physical buffer each buffer of a recording has.
#[derive(Debug)]
pub(crate) struct Assignment {
    pub slots: Vec<Option<usize>>,
    /// Bytes of each physical buffer.
    pub sizes: Vec<u64>,
    /// Whether a physical buffer is shared by transient ones.
    pub transient: Vec<bool>,
}

/// A grid of `count` workgroups in one dimension, folded into two where that is needed.
pub(crate) fn folded(count: u64) -> [u64; 2] {
    if count <= FOLD {
        [count, 1]
    } else {
        [FOLD, count.div_ceil(FOLD)]
    }
}
