//! What a graph becomes before it is lowered: which values are one and the same, which activations
//! are part of the kernel before them.

use crate::engine::operators::{Applies, kernels};
use crate::engine::wanted::Wanted;
use crate::model::{Graph, Node, ValueId};
use crate::op::{Activation, Op};

/// The answers, by value.
pub(in crate::engine) struct Fusion {
    /// The value that each value is a view of, or itself.
    root: Vec<ValueId>,
    /// The activation that the kernel which makes a value also applies.
    activation: Vec<Option<Activation>>,
    /// The value that a node writes instead of its own: that of the activation it applies.
    written: Vec<ValueId>,
    /// What the kernel that makes a value adds before that.
    addend: Vec<Option<ValueId>>,
    /// Of the output of a sum that is part of another node's kernels, the value that this node would write.
    summand: Vec<Option<ValueId>>,
    /// Whether the node that makes a value passes its gradient through the activation.
    by_maker: Vec<bool>,
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
            addend: vec![None; root.len()],
            summand: vec![None; root.len()],
            by_maker: vec![false; root.len()],
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
        for sum in graph.nodes() {
            let summands = fusion.summands(graph, sum);
            // A node passes a gradient through the activation only where it needs the gradient itself.
            let fits = |made| wanted.needs(made) || !wanted.needs(sum.output);
            if let Some((made, addend)) = summands.filter(|&(made, _)| fits(made)) {
                let value = fusion.written(sum.output);
                fusion.written[made.0] = value;
                fusion.addend[value.0] = Some(addend);
                fusion.summand[sum.output.0] = Some(made);
            }
        }
        for node in graph.nodes() {
            let value = fusion.written(node.output);
            if let Some(activation) = fusion.activation(value) {
                let everything = kernels(&node.op).applies() == Applies::Everything;
                let gathers = everything && fusion.is_handed_gradients(graph, value);
                fusion.by_maker[value.0] |= gathers || !activation.gradient_from_value();
            }
        }
        fusion
    }

    /// Of a sum that can be part of the kernels of a node: what this node would write, and the other value, which
    /// is there before.
    fn summands(&self, graph: &Graph, sum: &Node) -> Option<(ValueId, ValueId)> {
        let Op::Add(_) = sum.op else { return None };
        let shape = graph.shape(sum.output);
        let like = sum.inputs.iter().all(|&input| graph.shape(input) == shape);
        let maker = |value: ValueId| {
            let mut makers = graph.nodes().iter();
            makers.position(|node| node.output == value)
        };
        let mut sides = [0, 1].map(|at| self.root(sum.inputs[at]));
        // Inputs and constants have no maker, and come first.
        sides.sort_by_key(|&side| maker(side));
        let [addend, made] = sides;
        let node = &graph.nodes()[maker(made)?];
        let fits = kernels(&node.op).applies() == Applies::Everything
            && graph.shape(made) == shape
            && self.written(made) == made
            && self.readers(graph, made).count() == 1
            && !graph
                .outputs()
                .iter()
                .any(|&output| self.root(output) == made)
            && !self.is_asked(made)
            && !self.is_asked(sum.output);
        (like && addend != made && fits).then_some((made, addend))
    }

    /// Whether a sum that reads a value can hand its own gradient on to it.
    fn is_handed_gradients(&self, graph: &Graph, value: ValueId) -> bool {
        let mut readers = self.readers(graph, value);
        readers.any(|node| {
            let shape = graph.shape(node.output);
            matches!(node.op, Op::Add(_)) && node.inputs.iter().any(|&i| graph.shape(i) == shape)
        })
    }

    /// The nodes that read a value or a view of it, and make no view themselves.
    fn readers<'a>(&'a self, graph: &'a Graph, value: ValueId) -> impl Iterator<Item = &'a Node> {
        graph.nodes().iter().filter(move |reader| {
            !reader.op.definition().is_view()
                && reader.inputs.iter().any(|&input| self.root(input) == value)
        })
    }

    /// The activation that alone reads a value, and its own value, where its gradient can be part of
    /// the kernels that write it: it must not come from the loss.
    fn only_reader(&self, graph: &Graph, value: ValueId) -> Option<(Activation, ValueId)> {
        let mut readers = self.readers(graph, value);
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
        activation.filter(|_| !self.by_maker[value.0])
    }

    /// The same, if the node that makes the value does: it makes the gradient that of the argument once for all
    /// readers. So it is where the gradient does not follow from the value and the kernels keep the argument, and
    /// where a sum hands its gradient on as it is.
    pub(in crate::engine) fn passed_by_maker(&self, value: ValueId) -> Option<Activation> {
        let activation = self.activation(value);
        activation.filter(|_| self.by_maker[value.0])
    }

    /// What the kernel that makes a value adds before it applies an activation.
    pub(in crate::engine) fn addend(&self, value: ValueId) -> Option<ValueId> {
        self.addend[value.0]
    }

    /// Of a sum that is part of the kernels of the node before, what that node computes; its output.
    pub(in crate::engine) fn summand(&self, sum: ValueId) -> Option<ValueId> {
        self.summand[sum.0]
    }

    /// Whether a node's forward pass is part of the kernels of another, by its output.
    pub(in crate::engine) fn is_part_of_another(&self, output: ValueId) -> bool {
        self.activation(output).is_some() || self.summand(output).is_some()
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
