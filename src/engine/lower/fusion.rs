//! What a graph becomes before it is lowered: which values are one and the same, which activations
//! are part of the kernel before them.

use crate::engine::operators::{Applies, kernels};
use crate::engine::wanted::Wanted;
use crate::model::{Graph, ValueId};
use crate::op::{Activation, Op};

/// The answers, by value.
pub(in crate::engine) struct Fusion {
    /// The value that each value is a view of, or itself.
    root: Vec<ValueId>,
    /// The activation that the kernel which makes a value also applies.
    activation: Vec<Option<Activation>>,
    /// The value that a node writes instead of its own: that of the activation it applies.
    written: Vec<ValueId>,
    /// Whether a value, or a view of it, is asked for by itself.
    asked: Vec<bool>,
}

impl Fusion {
    pub(in crate::engine) fn of(graph: &Graph, wanted: &Wanted) -> Self {
        let mut root: Vec<ValueId> = graph.values().collect();
        for node in graph.nodes() {
            if node.op.definition().is_view() {
                root[node.output.0] = root[node.inputs[0].0];
            }
        }
        let mut asked = vec![false; root.len()];
        for value in graph.values().filter(|&value| wanted.value(value)) {
            asked[root[value.0].0] = true;
        }
        let mut fusion = Self {
            activation: vec![None; root.len()],
            written: root.clone(),
            asked,
            root,
        };
        for node in graph.nodes() {
            if kernels(&node.op).applies() == Applies::Nothing {
                continue;
            }
            let reader = fusion.only_reader(graph, node.output);
            // Of values that are asked for, both the values and their own gradients have to be there.
            let free = |value: ValueId| !fusion.is_asked(value) && !fusion.is_asked(node.output);
            if let Some((activation, value)) = reader.filter(|&(_, value)| free(value)) {
                fusion.activation[value.0] = Some(activation);
                fusion.written[node.output.0] = value;
            }
        }
        fusion
    }

    /// The activation that alone reads a value, and its own value, where its gradient can be part of
    /// the kernels that write it: it must not come from the loss.
    fn only_reader(&self, graph: &Graph, value: ValueId) -> Option<(Activation, ValueId)> {
        let mut readers = graph.nodes().iter().filter(|reader| {
            !reader.op.definition().is_view()
                && reader.inputs.iter().any(|&input| self.root(input) == value)
        });
        let (reader, others) = (readers.next()?, readers.next());
        let Op::Activation(activation) = reader.op else {
            return None;
        };
        let mut outputs = graph.outputs().iter().map(|&output| self.root(output));
        let given = outputs.any(|output| output == value || output == reader.output);
        let alone = others.is_none() && !given;
        let fits = activation.gradient_from_value() || is_light(graph, value);
        (alone && fits).then_some((activation, reader.output))
    }

    /// The value that a value is a view of, or itself.
    pub(in crate::engine) fn root(&self, value: ValueId) -> ValueId {
        self.root[value.0]
    }

    /// The value that a node with this output writes.
    pub(in crate::engine) fn written(&self, output: ValueId) -> ValueId {
        self.written[output.0]
    }

    /// The activation that is part of the kernel which makes a value.
    pub(in crate::engine) fn activation(&self, value: ValueId) -> Option<Activation> {
        self.activation[value.0]
    }

    /// The same, if those who read the value pass its gradient through the activation: each hands on the gradient
    /// of the argument, which follows from the value.
    pub(in crate::engine) fn passed_by_readers(&self, value: ValueId) -> Option<Activation> {
        let activation = self.activation(value);
        activation.filter(|activation| activation.gradient_from_value())
    }

    /// The same, if the node that makes the value does: its kernels keep the argument, and make the gradient
    /// that of the argument once for all readers.
    pub(in crate::engine) fn passed_by_maker(&self, value: ValueId) -> Option<Activation> {
        let activation = self.activation(value);
        activation.filter(|activation| !activation.gradient_from_value())
    }

    /// Whether a value, or a view of it, is asked for by itself.
    pub(in crate::engine) fn is_asked(&self, value: ValueId) -> bool {
        self.asked[self.root(value).0]
    }
}

/// Whether the kernel that makes a value is no product. The functions whose gradient needs their argument are
/// long, and drivers take long over products that have one for each element that an invocation stores.
fn is_light(graph: &Graph, value: ValueId) -> bool {
    let mut makers = graph.nodes().iter().filter(|node| node.output == value);
    makers.all(|node| !node.op.definition().reads_half(0))
}
