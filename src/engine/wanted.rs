//! What a backward pass must give: read by the lowering, by the reference and by the verifier, so that
//! all three mean the same.

use crate::model::{Graph, ParameterId, ValueId};

/// The parameters and values whose gradients are wanted, and the values whose gradients are needed on
/// the way to those.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    parameters: Vec<bool>,
    values: Vec<bool>,
    needed: Vec<bool>,
}

impl Wanted {
    /// The gradients of all that is learned.
    pub fn learned(graph: &Graph) -> Self {
        Self::with_values(graph, &[])
    }

    /// The gradients of all that is learned, and of these values.
    pub fn with_values(graph: &Graph, asked: &[ValueId]) -> Self {
        let parameters = graph.parameters().iter();
        let parameters: Vec<bool> = parameters.map(|p| p.is_learned()).collect();
        let values: Vec<bool> = graph.values().map(|v| asked.contains(&v)).collect();
        let mut needed = values.clone();
        for node in graph.nodes() {
            let before = node.inputs.iter().any(|input| needed[input.0]);
            let here = node.parameters.iter().any(|id| parameters[id.0]);
            needed[node.output.0] |= before || here;
        }
        Self {
            parameters,
            values,
            needed,
        }
    }

    /// Whether a parameter's gradient is wanted.
    pub fn parameter(&self, id: ParameterId) -> bool {
        self.parameters[id.0]
    }

    /// Whether a value's own gradient is wanted: such a value is there, whatever could be fused.
    pub fn value(&self, id: ValueId) -> bool {
        self.values[id.0]
    }

    /// Whether a value's gradient is wanted, or needed for one that is.
    pub fn needs(&self, id: ValueId) -> bool {
        self.needed[id.0]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Model;

    #[test]
    fn gradients_are_needed_from_the_first_learned_parameter_on_and_after_values_that_are_asked_for()
     {
        let model = Model::builder([4]).relu().dense(3).tanh().build().unwrap();
        let graph = &model.graph;
        let needs =
            |wanted: &Wanted| -> Vec<bool> { graph.values().map(|v| wanted.needs(v)).collect() };
        let learned = Wanted::learned(graph);
        assert_eq!(needs(&learned), [false, false, true, true]);
        assert!(graph.values().all(|value| !learned.value(value)));
        let input = Wanted::with_values(graph, &[graph.input()]);
        assert_eq!(needs(&input), [true; 4]);
        assert!(input.value(graph.input()) && !input.value(graph.output()));
        assert!((0..2).all(|id| learned.parameter(ParameterId(id))));
    }
}
