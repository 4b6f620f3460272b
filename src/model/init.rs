//! The values that a model's parameters start from.

use super::Graph;

impl Graph {
    /// Each parameter's first values: a function of the seed and of the parameter's place alone, so
    /// that every device starts from the same bits.
    pub fn initial_values(&self, seed: u64) -> Vec<Vec<f32>> {
        let parameters = self.parameters().iter().enumerate();
        let values = parameters.map(|(stream, parameter)| {
            let spec = &parameter.spec;
            let len = parameter.shape.len();
            spec.init
                .values(seed, stream as u32, len, spec.fan_in, spec.fan_out)
        });
        values.collect()
    }
}
