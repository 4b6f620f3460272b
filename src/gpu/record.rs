//! Recording: which kernels run in which order on which buffers. Nothing of it touches a device, so
//! what a model will do, and what memory that takes, is known before anything is allocated.

use super::Buffer;
use super::kernel::{Access, Format, Kernel, Params, PipelineKey, Variant};
use super::strategy::{self, Choices, Core, LOOP_LIMIT, Stored, Traits, Work};
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
    pub format: Format,
}

impl Region {
    /// Whether two have bytes in common.
    pub fn overlaps(&self, other: &Self) -> bool {
        let begins_within = |one: &Self, other: &Self| one.offset < other.offset + other.size;
        self.buffer == other.buffer && begins_within(self, other) && begins_within(other, self)
    }
}

/// Where a buffer's memory comes from.
#[derive(Debug, Clone)]
pub(crate) enum Storage {
    /// Kept between runs.
    Persistent,
    /// Needed from its first dispatch to its last; the memory serves others before and after.
    Transient,
    /// What never changes, as it is written when the recording is compiled.
    Constant(Vec<u32>),
    /// Somebody else's.
    Bound(Buffer),
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
    /// Of the bindings whose format the kernel leaves open.
    pub formats: Vec<Format>,
    /// `None` where an optional input is absent.
    pub bindings: Vec<Option<Region>>,
    /// Where the arguments of the function that it applies to its results go, if they are kept; or the gradient
    /// that it makes that of such an argument, in its place.
    pub argument: Option<Region>,
    pub params: Vec<u8>,
    pub workgroups: [u32; 3],
    /// The layer that it works for.
    pub label: String,
    /// What the step fills in.
    pub varies: Varies,
    /// Additions and multiplications, of those kernels that are made of little else.
    pub flops: u64,
    /// Those of the sums that define its results, where a fast algorithm has made fewer of them, or 0. What such an
    /// algorithm rounds in one result is in others too.
    pub stands_for: u64,
}

impl Dispatch {
    /// The text of the kernel that it needs.
    pub fn variant(&self) -> Variant {
        let argument = self.argument.map(|region| region.format);
        Variant::of(&self.formats, &self.constants, argument)
    }

    /// Every region that it reads or writes.
    pub fn regions(&self) -> impl Iterator<Item = &Region> {
        self.accesses().map(|(region, _)| region)
    }

    /// The same, each with how it uses it.
    pub fn accesses(&self) -> impl Iterator<Item = (&Region, Access)> {
        let bindings = self.bindings.iter().zip(self.kernel.bindings);
        let present = bindings.filter_map(|(region, &access)| Some((region.as_ref()?, access)));
        present.chain(
            self.argument
                .as_ref()
                .map(|region| (region, Access::ReadWrite)),
        )
    }

    /// Every region that it may write to.
    pub fn written(&self) -> impl Iterator<Item = &Region> {
        let writes = self.accesses();
        let writes = writes.filter(|(_, access)| *access == Access::ReadWrite);
        writes.map(|(region, _)| region)
    }

    /// What it is called in errors: its layer and its kernel.
    pub fn what(&self) -> String {
        format!("{} ({})", self.label, self.kernel.name)
    }

    /// What a pipeline is known by.
    pub fn key(&self) -> PipelineKey {
        PipelineKey::new(self.kernel, self.variant(), &self.constants)
    }
}

/// What of a dispatch's params is known only when its step runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Varies {
    Nothing,
    /// The loss's normalisation and the kind of target.
    Loss,
    /// The same for the total.
    LossTotal,
    /// The seed, the update, and the examples that it has had.
    Dropout {
        /// Masks of an example.
        masks: u32,
    },
    /// The factor that makes a mean of the gradients of micro-batches.
    Clip,
    /// The learning rate and the step's corrections.
    Optimizer {
        /// The slab's length in vectors of four.
        vectors: u32,
        /// The place of its group.
        group: usize,
    },
    /// The shares of an average and of what is new.
    Average,
}

/// What a recording chose by the sizes of a piece of work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Decision {
    /// The core for it.
    Core(Core),
    /// How many parts a sum is split into.
    Parts(usize),
}

/// Kernels in the order of their execution, and the buffers that they work on.
#[derive(Debug)]
pub(crate) struct Recording {
    pub traits: Traits,
    pub buffers: Vec<BufferInfo>,
    pub dispatches: Vec<Dispatch>,
    /// What was measured to be fast.
    pub choices: Choices,
    /// What a core was chosen for, in order.
    pub works: Vec<Stored>,
    /// What was chosen on the way, in order.
    pub decisions: Vec<Decision>,
    /// Dispatches on parameters alone, where the recording has them apart: they run when the parameters
    /// have changed.
    preparation: Option<Vec<Dispatch>>,
    /// Decisions that are made already.
    made: std::vec::IntoIter<Decision>,
    label: String,
    /// What the next dispatch keeps the arguments of its function in.
    argument: Option<Region>,
    error: Option<Error>,
}

impl Recording {
    pub fn new(traits: Traits) -> Self {
        Self {
            traits,
            buffers: vec![],
            dispatches: vec![],
            choices: Choices::new(),
            works: vec![],
            decisions: vec![],
            preparation: None,
            made: vec![].into_iter(),
            label: String::new(),
            argument: None,
            error: None,
        }
    }

    /// Has what depends on parameters alone apart from the rest, until
    /// [`end_preparation`](Self::end_preparation) puts it behind.
    pub fn prepare_apart(&mut self) {
        self.preparation = Some(vec![]);
    }

    /// Puts what depends on parameters alone behind the other dispatches: first what follows from those that
    /// none of these changes, of which it gives the number.
    pub fn end_preparation(&mut self) -> usize {
        let written = self.dispatches.iter().flat_map(Dispatch::written);
        let mut changing: Vec<Region> = written.copied().collect();
        let (mut fixed, mut others) = (Vec::new(), Vec::new());
        for dispatch in self.preparation.take().into_iter().flatten() {
            let changes = |region: &Region| changing.iter().any(|other| other.overlaps(region));
            if dispatch.regions().any(changes) {
                changing.extend(dispatch.written());
                others.push(dispatch);
            } else {
                fixed.push(dispatch);
            }
        }
        let count = fixed.len();
        self.dispatches.extend(fixed.into_iter().chain(others));
        count
    }

    /// What a kernel with these constants and params makes of `parameter`, recorded by `record` if it is not there
    /// yet. It is handed a buffer of `len` elements for that.
    pub fn prepared(
        &mut self,
        kernel: &'static Kernel,
        (constants, params): (&[(&'static str, f64)], impl Params),
        parameter: Region,
        (label, format, len): (&str, Format, usize),
        record: impl FnOnce(&mut Self, Region),
    ) -> Region {
        let is_it = |dispatch: &&Dispatch| {
            let same = dispatch.kernel.name == kernel.name && dispatch.constants == constants;
            let same = same && dispatch.params == bytemuck::bytes_of(&params);
            same && dispatch.bindings.first() == Some(&Some(parameter))
        };
        let known = self.preparation.iter().flatten().find(is_it);
        if let Some(region) = known.and_then(|dispatch| *dispatch.bindings.get(1)?) {
            return region;
        }
        let storage = match self.preparation {
            Some(_) => Storage::Persistent,
            None => Storage::Transient,
        };
        let region = self.buffer_of(format, label, len, storage);
        self.preparing(|recording| record(recording, region));
        region
    }

    /// Records what depends on parameters alone.
    pub fn preparing(&mut self, record: impl FnOnce(&mut Self)) {
        let Some(mut preparation) = self.preparation.take() else {
            return record(self);
        };
        std::mem::swap(&mut self.dispatches, &mut preparation);
        record(self);
        std::mem::swap(&mut self.dispatches, &mut preparation);
        self.preparation = Some(preparation);
    }

    /// Takes the decisions of another recording of the same work for a larger batch, so that
    /// pipelines and buffers are the same.
    pub fn decide_as(&mut self, decisions: Vec<Decision>) {
        self.made = decisions.into_iter();
    }

    /// The core for a piece of work, whose inputs and result lie in memory in these formats.
    pub fn core(&mut self, work: &Work, formats: [Format; 3]) -> Core {
        let stored = Stored {
            work: *work,
            formats,
        };
        let core = match self.made.next() {
            Some(Decision::Core(core)) => core,
            None => {
                let key = strategy::choice_key(&self.traits, &stored);
                let chosen = self.choices.get(&key).copied();
                strategy::core(&self.traits, chosen, work)
            }
            Some(Decision::Parts(_)) => self.out_of_step(Core::Tiled64),
        };
        self.works.push(stored);
        self.decisions.push(Decision::Core(core));
        core
    }

    /// How many parts a sum is split into.
    pub fn parts(&mut self, choose: impl FnOnce() -> usize) -> usize {
        let parts = match self.made.next() {
            Some(Decision::Parts(parts)) => parts,
            None => choose(),
            Some(Decision::Core(_)) => self.out_of_step(1),
        };
        self.decisions.push(Decision::Parts(parts));
        parts
    }

    /// The decisions are those of other work.
    fn out_of_step<T>(&mut self, any: T) -> T {
        let message = "decisions of another plan: a defect of wgpu-cnn, please report it";
        self.error.get_or_insert(Error::Gpu {
            message: message.into(),
        });
        any
    }

    /// Names the layer that the next dispatches work for.
    pub fn set_label(&mut self, label: impl Into<String>) {
        self.label = label.into();
    }

    /// A buffer of `len` four-byte elements.
    pub fn buffer(&mut self, label: impl Into<String>, len: usize, storage: Storage) -> Region {
        self.buffer_of(Format::F32, label, len, storage)
    }

    /// A buffer of `len` elements of a format.
    pub fn buffer_of(
        &mut self,
        format: Format,
        label: impl Into<String>,
        len: usize,
        storage: Storage,
    ) -> Region {
        let size = padded(len as u64 * format.size());
        let buffer = BufferId(self.buffers.len());
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
            format,
        }
    }

    /// A buffer that lives from its first use to its last.
    pub fn transient(&mut self, label: impl Into<String>, len: usize) -> Region {
        self.buffer(label, len, Storage::Transient)
    }

    /// A buffer with these numbers in it, the same for all who ask for the same.
    pub fn constant(&mut self, label: &str, values: Vec<u32>) -> Region {
        let is_it = |info: &BufferInfo| match &info.storage {
            Storage::Constant(others) => *others == values,
            Storage::Persistent | Storage::Transient | Storage::Bound(_) => false,
        };
        match self.buffers.iter().position(is_it) {
            Some(known) => Region {
                buffer: BufferId(known),
                offset: 0,
                size: self.buffers[known].size,
                format: Format::F32,
            },
            None => self.buffer(label, values.len(), Storage::Constant(values)),
        }
    }

    /// Whether nothing ever writes to a buffer.
    pub fn is_constant(&self, buffer: BufferId) -> bool {
        matches!(self.buffers[buffer.0].storage, Storage::Constant(_))
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
        let known = |(name, _): &(&str, f64)| kernel.all_constants().contains(name);
        debug_assert!(constants.iter().all(known), "{}", kernel.name);
        let argument = self.argument.take();
        debug_assert!(
            argument.is_none() || kernel.keeps_arguments(),
            "{}",
            kernel.name
        );
        let label = self.label.clone();
        let varies = |binding| kernel.formats.iter().any(|&(open, _)| open == binding);
        for (binding, region) in bindings.iter().enumerate() {
            if region.is_some_and(|r| r.format != Format::F32) && !varies(binding) {
                self.error.get_or_insert(Error::Gpu {
                    message: format!("{} has no f16 at binding {binding}", kernel.name),
                });
            }
        }
        for region in bindings.iter().flatten().chain(&argument) {
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
                .filter(|&count| count <= self.traits.max_workgroups)
                .unwrap_or_else(|| {
                    self.error.get_or_insert(Error::Limit {
                        limit: "max_compute_workgroups_per_dimension",
                        what: format!("{label}: {}", kernel.name),
                        needed: count,
                        available: self.traits.max_workgroups.into(),
                    });
                    0
                })
        });
        let format = |region: &Option<Region>| region.map_or(Format::F32, |region| region.format);
        let formats = kernel.formats.iter();
        self.dispatches.push(Dispatch {
            kernel,
            constants: constants.to_vec(),
            formats: formats.map(|&(at, _)| format(&bindings[at])).collect(),
            bindings: bindings.to_vec(),
            argument,
            params: bytemuck::bytes_of(&params).to_vec(),
            workgroups,
            label,
            varies: Varies::Nothing,
            flops: 0,
            stands_for: 0,
        });
    }

    /// Says that the next dispatch keeps the arguments of the function that it applies to its results, or makes
    /// a gradient that of such an argument, and where.
    pub fn keep_argument(&mut self, region: Option<Region>) {
        self.argument = region;
    }

    /// Says how many additions and multiplications the last dispatch makes.
    pub fn flops(&mut self, flops: u64) {
        if let Some(dispatch) = self.dispatches.last_mut() {
            dispatch.flops = flops;
        }
    }

    /// Says how many additions and multiplications define the results of the last dispatch, which a fast algorithm
    /// has made fewer of.
    pub fn stands_for(&mut self, flops: u64) {
        if let Some(dispatch) = self.dispatches.last_mut() {
            dispatch.stands_for = flops;
        }
    }

    /// Whether of some dispatches, in order, any of a fast algorithm has a part in what a region holds after them.
    pub fn is_spread(&self, dispatches: impl Iterator<Item = usize>, region: &Region) -> bool {
        let mut spread: Vec<Region> = vec![];
        for at in dispatches {
            let dispatch = &self.dispatches[at];
            let among = |region: &Region| spread.iter().any(|other| other.overlaps(region));
            if dispatch.stands_for > 0 || dispatch.regions().any(among) {
                let written: Vec<Region> = dispatch.written().copied().collect();
                spread.extend(written);
            }
        }
        spread.iter().any(|other| other.overlaps(region))
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
}

/// A grid of `count` workgroups in one dimension, folded into two where that is needed.
pub(crate) fn folded(count: u64) -> [u64; 2] {
    if count <= FOLD {
        [count, 1]
    } else {
        [FOLD, count.div_ceil(FOLD)]
    }
}

#[cfg(test)]
mod tests;
