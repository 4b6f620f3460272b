//! A graph made fit to be looked at.

use super::{Graph, Node, ValueId};
use crate::op::{Concat, Op};
use crate::{Error, Result};

impl Graph {
    /// The same computation in which each of these values has a place of its own, and a gradient of its own:
    /// a view is followed by a copy. With `evaluation`, training it computes what evaluation does: there,
    /// what hands its input on is a copy, and batch normalisations are frozen.
    pub fn with_own_places(&self, asked: &[ValueId], evaluation: bool) -> Self {
        let mut graph = self.clone();
        graph.nodes.clear();
        for node in &self.nodes {
            let mut node = node.clone();
            if evaluation && node.op.definition().is_identity_in_evaluation() {
                node.op = Op::Concat(Concat);
            } else if evaluation && let Op::BatchNorm(norm) = &mut node.op {
                norm.frozen = true;
            } else if node.op.definition().is_view() && asked.contains(&node.output) {
                let (viewed, output) = (
                    graph.push_value(self.shape(node.output).clone()),
                    node.output,
                );
                let copy = Node {
                    op: Op::Concat(Concat),
                    inputs: vec![viewed],
                    output,
                    parameters: vec![],
                    ..node.clone()
                };
                node.output = viewed;
                graph.nodes.push(node);
                node = copy;
            }
            graph.nodes.push(node);
        }
        graph
    }

    /// The value of a name: that of a layer, of an input (`input`, `input 1`) or of a constant. A name before
    /// a dot that several layers share is the last of them.
    pub fn value_named(&self, name: &str) -> Result<ValueId> {
        let named = self.values().find(|&value| self.value_name(value) == name);
        let within = |node: &&Node| {
            let rest = node.name.strip_prefix(name);
            rest.is_some_and(|rest| rest.starts_with('.'))
        };
        let last = || self.nodes.iter().rfind(within).map(|node| node.output);
        named.or_else(last).ok_or_else(|| {
            let names: Vec<String> = self.values().map(|value| self.value_name(value)).collect();
            Error::argument(
                format!("layer {name:?}"),
                format!("the model has {names:?}"),
            )
        })
    }
}
