//! Networks that are graphs: nodes by name.

use std::collections::BTreeMap;

use serde_json::Value;
use wgpu_cnn::{Concat, Model, Op, Shape};

use crate::layers;
use crate::network::of_network;
use crate::options::Options;

pub struct Graph {
    nodes: Vec<Node>,
    outputs: Vec<String>,
}

struct Node {
    name: String,
    op: Op,
    inputs: Vec<String>,
}

impl Graph {
    /// The nodes, and the outputs that the options of the network name.
    pub fn read(nodes: &Value, options: &Options) -> Result<Self, String> {
        let nodes = nodes.as_array().ok_or("the graph is not a list")?;
        let nodes = nodes.iter().map(Node::read).collect::<Result<_, _>>()?;
        let outputs = options
            .list("outputs", text)?
            .ok_or("outputs are missing")?;
        Ok(Self { nodes, outputs })
    }

    pub fn layers(&self) -> impl Iterator<Item = &Op> {
        self.nodes.iter().map(|node| &node.op)
    }

    pub fn build(&self, example: &[usize]) -> crate::Result<Model> {
        let mut net = Model::graph();
        let mut values = BTreeMap::from([("input", net.input(Shape::from(example)))]);
        let of = |values: &BTreeMap<_, _>, name: &str| {
            let value = values.get(name).copied();
            value.ok_or_else(|| format!("there is no node {name:?}"))
        };
        for node in &self.nodes {
            let inputs = node.inputs.iter().map(|name| of(&values, name));
            let inputs: Vec<_> = inputs.collect::<Result<_, _>>()?;
            values.insert(&node.name, net.add(&node.name, node.op.clone(), inputs)?);
        }
        let outputs = self.outputs.iter().map(|name| of(&values, name));
        Ok(net.build(outputs.collect::<Result<Vec<_>, _>>()?)?)
    }
}

impl Node {
    fn read(node: &Value) -> Result<Self, String> {
        let options = Options::new(node.as_object().ok_or("a node is not an object")?);
        let op = match options.text("op", "")? {
            "concat" => match options.extent("axis", 1)? {
                1 => Concat.into(),
                axis => return Err(format!("values joined along axis {axis}")),
            },
            name => of_network(layers::layer(name, &options)?)?,
        };
        let read = Self {
            name: options.text("name", "")?.into(),
            op,
            inputs: options.list("inputs", text)?.ok_or("inputs are missing")?,
        };
        options.finish()?;
        Ok(read)
    }
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_string)
}
