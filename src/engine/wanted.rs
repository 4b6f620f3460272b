//! What a backward pass must give: read by the lowering, by the reference and by the verifier, so that
//! all three mean the same.

use crate::model::{Graph, Groups, OutputLoss, ParameterId, ValueId};

/// The parameters and values whose gradients are wanted, and the values whose gradients are needed on
/// the way to those.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    parameters: Vec<bool>,
    values: Vec<bool>,
    needed: Vec<bool>,
    /// What a loss depends on.
    reaches: Vec<bool>,
}

impl Wanted {
    /// The gradients of all that is learned and that a loss depends on.
    pub fn learned(graph: &Graph, losses: &[OutputLoss], groups: &Groups) -> Self {
        Self::with_values(graph, losses, groups, &[])
    }

    /// No gradient. What would be learned is known all the same, where something else hangs on that.
    pub fn nothing(graph: &Graph, learned: impl Fn(ParameterId) -> bool) -> Self {
        let values = vec![false; graph.values().count()];
        let parameters = (0..graph.parameters().len()).map(ParameterId);
        Self {
            parameters: parameters.map(learned).collect(),
            needed: values.clone(),
            reaches: values.clone(),
            values,
        }
    }

    /// These values and these gradients of values, and no parameter's.
    pub fn looked_at(
        graph: &Graph,
        losses: &[OutputLoss],
        values: &[ValueId],
        gradients: &[ValueId],
    ) -> Self {
        let with = Self::with_values(graph, losses, &Groups::none(graph), gradients);
        let asked = |value: ValueId| values.contains(&value) || gradients.contains(&value);
        let mut needed: Vec<bool> = with.values;
        let reaches = with.reaches;
        for node in graph.nodes() {
            let before = node.inputs.iter().any(|input| needed[input.0]);
            needed[node.output.0] |= before && reaches[node.output.0];
        }
        Self {
            parameters: vec![false; graph.parameters().len()],
            values: graph.values().map(asked).collect(),
            needed,
            reaches,
        }
    }

    /// The same, and the gradients of these values.
    pub fn with_values(
        graph: &Graph,
        losses: &[OutputLoss],
        groups: &Groups,
        asked: &[ValueId],
    ) -> Self {
        let mut reaches: Vec<bool> = vec![false; graph.values().count()];
        for loss in losses {
            reaches[graph.outputs()[loss.output].0] = true;
        }
        let mut parameters = vec![false; graph.parameters().len()];
        for node in graph.nodes().iter().rev() {
            if reaches[node.output.0] {
                node.inputs.iter().for_each(|input| reaches[input.0] = true);
                let ids = node.parameters.iter();
                ids.for_each(|&id| parameters[id.0] = groups.of(id).is_some());
            }
        }
        let values: Vec<bool> = graph.values().map(|v| asked.contains(&v)).collect();
        let mut needed = values.clone();
        for node in graph.nodes() {
            let before = node.inputs.iter().any(|input| needed[input.0]);
            let here = node.parameters.iter().any(|id| parameters[id.0]);
            needed[node.output.0] |= (before || here) && reaches[node.output.0];
        }
        Self {
            parameters,
            values,
            needed,
            reaches,
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
        let losses = [OutputLoss::first(&crate::Loss::default())];
        let groups = Groups::single(graph, crate::Optimizer::sgd(0.1).into());
        let learned = Wanted::learned(graph, &losses, &groups);
        assert_eq!(needs(&learned), [false, false, true, true]);
        assert!(graph.values().all(|value| !learned.value(value)));
        let input = Wanted::with_values(graph, &losses, &groups, &[graph.input()]);
        assert_eq!(needs(&input), [true; 4]);
        assert!(input.value(graph.input()) && !input.value(graph.output()));
        assert!((0..2).all(|id| learned.parameter(ParameterId(id))));
    }

    #[test]
    fn what_no_loss_depends_on_is_not_wanted() {
        let mut net = Model::graph();
        let x = net.input([4]);
        let [a, b] = ["a", "b"].map(|name| net.add(name, crate::Linear::new(3), [x]).unwrap());
        let model = net.build([a, b]).unwrap();
        let graph = &model.graph;
        let losses = [OutputLoss::first(&crate::Loss::default())];
        let groups = Groups::single(graph, crate::Optimizer::sgd(0.1).into());
        let wanted = Wanted::learned(graph, &losses, &groups);
        let parameters = (0..4).map(|id| wanted.parameter(ParameterId(id)));
        assert_eq!(parameters.collect::<Vec<_>>(), [true, true, false, false]);
        let needed = graph.outputs().iter().map(|&output| wanted.needs(output));
        assert_eq!(needed.collect::<Vec<_>>(), [true, false]);
    }
}
