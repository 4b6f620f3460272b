//! The same by the reference.

use super::LookTask;
use crate::Result;
use crate::engine::{Reference, Rules};
use crate::model::{Groups, Inputs, Targets, ValueId};

/// A look on the CPU.
#[derive(Debug)]
pub(crate) struct HostLook {
    pub task: LookTask,
    reference: Reference<f32>,
}

impl HostLook {
    /// A look at a model with these parameters.
    pub fn new(task: LookTask, parameters: Vec<Vec<f32>>) -> Result<Self> {
        let groups = Groups::none(&task.model.graph);
        let losses = task.losses.clone();
        let seed = task.options.seed;
        let mut reference =
            Reference::with(&task.model, losses, groups, seed, parameters, Rules::ALL)?;
        reference.set_direct_only(task.options.direct_only);
        Ok(Self { task, reference })
    }

    /// The forward pass of a batch; the loss and the way back where there are targets.
    pub fn forward(&mut self, inputs: &Inputs<'_>, targets: &Targets) -> Result<Option<f32>> {
        let wanted = self.task.wanted();
        self.reference.look_forward(inputs)?;
        match targets.0.is_empty() {
            true => Ok(None),
            false => self.reference.look_loss(targets, &wanted).map(Some),
        }
    }

    /// The way back from gradients that the caller has computed.
    pub fn backward(&mut self, gradients: &[&[f32]]) -> Result<()> {
        let wanted = self.task.wanted();
        self.reference.look_backward(gradients, &wanted)
    }

    /// Takes other parameters, of the same lengths.
    pub fn set_parameters(&mut self, parameters: Vec<Vec<f32>>) {
        self.reference.set_parameters(parameters);
    }

    pub fn outputs(&self) -> Vec<Vec<f32>> {
        let outputs = self.task.model.graph.outputs().iter();
        outputs.map(|&output| self.value(output)).collect()
    }

    pub fn value(&self, value: ValueId) -> Vec<f32> {
        self.reference.looked(value)[0].to_vec()
    }

    /// The gradient of a value; zero where no loss depends on it.
    pub fn gradient(&self, value: ValueId) -> Vec<f32> {
        match self.reference.looked(value) {
            [value, []] => vec![0.0; value.len()],
            [_, gradient] => gradient.to_vec(),
        }
    }
}
