//! The values that a model's parameters start from.

use super::{Graph, ParameterId};

impl Graph {
    /// Each parameter's first values.
    pub fn initial_values(&self, seed: u64) -> Vec<Vec<f32>> {
        let parameters = 0..self.parameters().len();
        parameters
            .map(|at| self.initial_values_of(ParameterId(at), seed))
            .collect()
    }

    /// A parameter's first values: a function of the seed and of the parameter's place alone, so that
    /// every device starts from the same bits.
    pub fn initial_values_of(&self, id: ParameterId, seed: u64) -> Vec<f32> {
        let parameter = self.parameter(id);
        if let Some(values) = &parameter.values {
            return values.to_vec();
        }
        let (spec, len) = (&parameter.spec, parameter.shape.len());
        spec.init
            .values(seed, id.0 as u32, len, spec.fan_in, spec.fan_out)
    }
}
