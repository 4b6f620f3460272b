//! Predictions by the reference.

use crate::Result;
use crate::engine::reference::{self, Rules};
use crate::model::{Inputs, Model};

/// A model and its parameters in the host's memory.
#[derive(Debug)]
pub(crate) struct HostPrediction {
    pub rules: Rules<f32>,
    pub model: Model,
    pub parameters: Vec<Vec<f32>>,
    /// Examples at once, so that the values of more are never there at the same time.
    pub batch: usize,
    /// Whether convolutions are computed by the sums that define them alone.
    pub direct_only: bool,
}

impl HostPrediction {
    /// All outputs for any number of examples.
    pub fn run(&self, inputs: &Inputs<'_>, examples: usize) -> Result<Vec<Vec<f32>>> {
        let graph = &self.model.graph;
        let mut outputs = vec![Vec::new(); graph.outputs().len()];
        for begin in (0..examples).step_by(self.batch) {
            let part = inputs.part(graph, begin, self.batch);
            let (parameters, direct) = (&self.parameters, self.direct_only);
            let parts = reference::predict(self.rules, graph, parameters, &part, direct)?;
            for (output, part) in outputs.iter_mut().zip(parts) {
                output.extend(part);
            }
        }
        Ok(outputs)
    }
}
