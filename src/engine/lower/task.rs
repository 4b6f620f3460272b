//! What is lowered, and how.

#[cfg(feature = "native")]
use std::time::Duration;

use crate::engine::wanted::Wanted;
use crate::gpu::record::Decision;
use crate::gpu::strategy::{Choices, Traits};
use crate::model::{Groups, Model, OutputLoss, Parameter, ParameterId, check_accumulate};
use crate::op::Average;
use crate::{Error, Result};

/// How a plan is made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PlanOptions {
    /// Examples per step at most: sizes of buffers and choices of kernels depend on it.
    pub batch: usize,
    /// Steps that may be on their way at once.
    pub in_flight: usize,
    /// Bytes that the plan may take.
    pub memory_budget: u64,
    /// The largest slab of parameters in bytes.
    pub max_slab: u64,
    /// What dropout's masks are made from.
    pub seed: u64,
    /// The largest global norm of the gradients.
    pub clip_norm: Option<f64>,
    /// Micro-batches per update.
    pub accumulate: usize,
    /// Trainers that train together, each with a plan of its own.
    pub ranks: usize,
    /// Whether activations, and the weights that products read, are stored as f16.
    pub half: bool,
    /// Whether the losses' gradients with respect to the inputs are asked for.
    pub input_gradients: bool,
    /// Of the parameters over the updates.
    pub average: Option<Average>,
    /// What choosing cores by measurement may take.
    #[cfg(feature = "native")]
    pub autotune_budget: Duration,
    /// Whether convolutions add up their products as they are defined, by no fast algorithm.
    pub direct_only: bool,
}

impl PlanOptions {
    /// The defaults, for a batch of this size.
    pub fn new(batch: usize) -> Self {
        Self {
            batch,
            in_flight: 2,
            memory_budget: u64::MAX,
            max_slab: u64::MAX,
            seed: 0,
            clip_norm: None,
            accumulate: 1,
            ranks: 1,
            half: false,
            input_gradients: false,
            average: None,
            #[cfg(feature = "native")]
            autotune_budget: Duration::MAX,
            direct_only: false,
        }
    }

    /// Whether an update takes the gradients of several batches, here or on several ranks.
    pub fn is_of_several(&self) -> bool {
        self.accumulate > 1 || self.ranks > 1
    }
}

/// What the kernels are for.
#[derive(Debug, Clone, Copy)]
pub(in crate::engine) enum Purpose<'a> {
    /// Training, and predictions between.
    Training,
    /// Predictions alone: nothing is kept for a way back. Batches of these sizes get kernels of their own,
    /// beside the planned one, which is the largest.
    Prediction(&'a [usize]),
    /// A look at values and their gradients in training: nothing that is kept changes.
    Look,
}

/// What is lowered.
#[derive(Debug, Clone)]
pub(in crate::engine) struct Task<'a> {
    pub model: &'a Model,
    pub losses: &'a [OutputLoss],
    pub groups: &'a Groups,
    pub options: PlanOptions,
    pub purpose: Purpose<'a>,
    /// What gets a gradient.
    pub wanted: Wanted,
    /// What was found to be fast.
    pub choices: Option<&'a Choices>,
    /// The decisions of the planned batch, for a smaller one.
    pub decisions: &'a [Decision],
}

impl<'a> Task<'a> {
    /// Training of all that is in groups, with the cores that the table of strategies chooses.
    pub fn new(
        model: &'a Model,
        losses: &'a [OutputLoss],
        groups: &'a Groups,
        options: PlanOptions,
    ) -> Self {
        Self {
            model,
            losses,
            groups,
            options,
            purpose: Purpose::Training,
            wanted: match options.input_gradients {
                true => Wanted::with_values(&model.graph, losses, groups, model.graph.inputs()),
                false => Wanted::learned(&model.graph, losses, groups),
            },
            choices: None,
            decisions: &[],
        }
    }

    /// What the choice of kernels depends on, on a device and by the options.
    pub fn traits(&self, device: Traits) -> Traits {
        Traits {
            direct_only: device.direct_only || self.options.direct_only,
            ..device
        }
    }

    /// Refuses what cannot be trained, whatever the device.
    pub fn check(&self) -> Result<()> {
        let (model, batch) = (self.model, self.options.batch);
        if batch == 0 {
            return Err(Error::argument("batch", "must not be zero"));
        }
        let mut parameters = (0..model.graph.parameters().len()).map(ParameterId);
        if !parameters.any(|id| self.wanted.parameter(id)) {
            let learns = model.graph.parameters().iter().any(Parameter::is_learned);
            let reason = match (learns, self.groups.list().is_empty()) {
                (true, false) => "has no loss that depends on anything that is learned",
                (true, true) => "has nothing to learn: every parameter is frozen",
                (false, _) => "has nothing to learn",
            };
            return Err(Error::argument("model", reason));
        }
        let several = self.options.accumulate.saturating_mul(self.options.ranks);
        check_accumulate(self.losses, several)
    }

    /// Whether a loss is the caller's, who asks for the outputs in training.
    pub fn hands_outputs_out(&self) -> bool {
        self.losses.iter().any(|loss| loss.loss.is_none())
    }
}
