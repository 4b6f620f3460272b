//! The pipelines of a training step as text, for whoever hands them to a compiler of their own.

use std::collections::BTreeSet;

use super::PlanOptions;
use super::lower::{Task, lower_planned};
use crate::gpu::kernel::ARGUMENT;
use crate::gpu::record::Dispatch;
use crate::gpu::strategy::{Core, Traits};
use crate::model::{Groups, OutputLoss};
use crate::{Error, Loss, Model, Optimizer, Result};

/// A compute pipeline: what a device is given to compile.
#[derive(Debug, Clone, PartialEq)]
pub struct Pipeline {
    /// The kernel: the name of its shader, with that of the product core where there are several.
    pub kernel: &'static str,
    /// The first layer that it works for.
    pub layer: String,
    /// The text, with the entry point `main`.
    pub wgsl: String,
    /// The values of the text's `override` constants.
    pub constants: Vec<(&'static str, f64)>,
    /// The bindings of group 0 that are storage buffers.
    pub storage: Vec<u32>,
    /// The binding of group 0 that is a uniform buffer.
    pub uniform: u32,
}

impl Pipeline {
    fn of(dispatch: &Dispatch) -> Self {
        let (kernel, variant) = (dispatch.kernel, dispatch.variant());
        let uniform = kernel.bindings.len() as u32;
        let argument = dispatch.argument.map(|_| ARGUMENT);
        Self {
            kernel: kernel.name,
            layer: dispatch.label.clone(),
            wgsl: kernel.wgsl_for(&variant, wgpu::Backend::Vulkan),
            constants: dispatch.constants.clone(),
            storage: (0..uniform).chain(argument).collect(),
            uniform,
        }
    }
}

/// The pipelines of a training step of `batch` examples on a GPU that is not there: no software adapter, and
/// with room for every buffer; with `few_registers` one such as Intel's. Each comes once, in the order in which they first run. With `core`, one of
/// those that [`GpuBuilder::prefer_core`](crate::GpuBuilder::prefer_core) takes, that core is taken wherever it
/// serves.
///
/// # Errors
///
/// For a core that is unknown, and for what cannot be trained.
pub fn pipelines(
    model: &Model,
    loss: &Loss,
    optimizer: &Optimizer,
    batch: usize,
    half: bool,
    core: Option<&str>,
    few_registers: bool,
) -> Result<Vec<Pipeline>> {
    let named = |name| {
        Core::named(name).ok_or_else(|| Error::argument("core", format!("{name:?} names no core")))
    };
    let traits = Traits {
        few_registers,
        max_binding: 4 << 30,
        max_buffer: 4 << 30,
        preferred: core.map(named).transpose()?,
        ..Traits::DEFAULT
    };
    let losses = &[OutputLoss::first(loss)];
    let groups = Groups::single(&model.graph, *optimizer);
    let options = PlanOptions {
        half,
        ..PlanOptions::new(batch)
    };
    let task = Task::new(model, losses, &groups, options);
    task.check()?;
    let recording = lower_planned(&task, traits)?.recording;
    let mut known = BTreeSet::new();
    let mut all: Vec<_> = recording.dispatches.iter().map(Pipeline::of).collect();
    all.retain(|pipeline| {
        let constants = format!("{:?}", pipeline.constants);
        known.insert((pipeline.wgsl.clone(), constants))
    });
    Ok(all)
}
