//! What a graph becomes before it is lowered: which values are one and the same, which activations
//! are part of the kernel before them, and which values need a gradient.

use crate::model::{Graph, ValueId};
use crate::op::{Activation, GlobalPool, Op};

/// The answers, by value.
pub(super) struct Fusion {
    /// The value that each value is a view of, or itself.
    root: Vec<ValueId>,
    /// The activation that the kernel which makes a value also applies.
    activation: Vec<Option<Activation>>,
    /// The value that a node writes instead of its own: that of the activation it applies.
    written: Vec<ValueId>,
    /// Whether anything that is learned lies before a value.
    learns: Vec<bool>,
}

impl Fusion {
    pub(super) fn of(graph: &Graph) -> Self {
        let mut root: Vec<ValueId> = graph.values().collect();
        let mut learns = vec![false; root.len()];
        for node in graph.nodes() {
            if node.op.is_view() {
                root[node.output.0] = root[node.inputs[0].0];
            }
            let before = node.inputs.iter().any(|input| learns[root[input.0].0]);
            learns[root[node.output.0].0] |= before || !node.parameters.is_empty();
        }
        let mut fusion = Self {
            activation: vec![None; root.len()],
            written: root.clone(),
            root,
            learns,
        };
        for node in graph.nodes() {
            let applies = node.op.is_product()
                || matches!(
                    node.op,
                    Op::MaxPool2d(_) | Op::GlobalPool(GlobalPool::Max) | Op::BatchNorm(_) | Op::Add
                );
            if let (true, Some((activation, value))) =
                (applies, fusion.only_reader(graph, node.output))
            {
                fusion.activation[value.0] = Some(activation);
                fusion.written[node.output.0] = value;
            }
        }
        fusion
    }

    /// The activation that alone reads a value, and its own value, where its gradient can be part of
    /// the kernels that write it: it must follow from the value, and not come from the loss.
    fn only_reader(&self, graph: &Graph, value: ValueId) -> Option<(Activation, ValueId)> {
        let mut readers = graph.nodes().iter().filter(|reader| {
            !reader.op.is_view() && reader.inputs.iter().any(|&input| self.root(input) == value)
        });
        let (reader, others) = (readers.next()?, readers.next());
        let output = self.root(graph.output());
        match reader.op {
            Op::Activation(activation)
                if others.is_none()
                    && activation.gradient_from_value()
                    && value != output
                    && reader.output != output =>
            {
                Some((activation, reader.output))
            }
            _ => None,
        }
    }

    /// The value that a value is a view of, or itself.
    pub(super) fn root(&self, value: ValueId) -> ValueId {
        self.root[value.0]
    }

    /// The value that a node with this output writes.
    pub(super) fn written(&self, output: ValueId) -> ValueId {
        self.written[output.0]
    }

    /// The activation that is part of the kernel which makes a value.
    pub(super) fn activation(&self, value: ValueId) -> Option<Activation> {
        self.activation[value.0]
    }

    /// Whether anything that is learned lies before a value.
    pub(super) fn learns(&self, value: ValueId) -> bool {
        self.learns[value.0]
    }
}
