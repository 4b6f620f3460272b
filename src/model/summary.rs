//! What a model's layers give and cost.

use std::collections::HashSet;
use std::fmt;

use super::{Model, count};
use crate::Shape;
use crate::table::table;

/// What each layer of a model gives and costs, for one example: what [`Model::summary`] found. Displays as a
/// table.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Summary {
    /// The shape of one example of each input.
    pub inputs: Vec<Shape>,
    /// The layers in the order of their execution.
    pub layers: Vec<LayerSummary>,
}

/// A layer of a [`Summary`].
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct LayerSummary {
    /// Its name.
    pub name: String,
    /// Its operator.
    pub operator: &'static str,
    /// The shape of one example of its output.
    pub output: Shape,
    /// Values that are learned. Those of a layer that shares another's count with the other.
    pub parameters: u64,
    /// Values that are kept and not learned: running statistics, and what is fixed.
    pub fixed: u64,
    /// Multiplications of its products, each with its addition, forward: those of convolutions and dense
    /// layers, padding counted, as `fvcore` and torchvision count them. 0 of layers that memory bounds. A step of
    /// training has the same again for the gradient of the input, and for that of the weights.
    pub multiply_adds: u64,
    /// Bytes of its output as `f32`; 0 where that is its input under another shape. A training keeps most
    /// outputs of a batch, but shares memory where it can, and layers that are one kernel with the next have
    /// none: [`TrainerBuilder::memory`](crate::TrainerBuilder::memory) says what it takes.
    pub bytes: u64,
}

impl Summary {
    /// The sum of all layers. Its name is empty, its operator is `total`, and its output the last layer's.
    pub fn total(&self) -> LayerSummary {
        let sum = |of: fn(&LayerSummary) -> u64| {
            let parts = self.layers.iter().map(of);
            parts.fold(0, u64::saturating_add)
        };
        let last = self.layers.last().map(|layer| &layer.output);
        LayerSummary {
            name: String::new(),
            operator: "total",
            output: last.or(self.inputs.last()).cloned().unwrap_or_default(),
            parameters: sum(|layer| layer.parameters),
            fixed: sum(|layer| layer.fixed),
            multiply_adds: sum(|layer| layer.multiply_adds),
            bytes: sum(|layer| layer.bytes),
        }
    }
}

impl Model {
    /// What each layer gives and costs, for one example.
    ///
    /// ```
    /// use wgpu_cnn::zoo;
    /// let summary = zoo::resnet18().build()?.summary();
    /// let total = summary.total();
    /// assert_eq!((total.parameters, total.multiply_adds), (11_689_512, 1_814_073_344));
    /// assert_eq!(summary.layers[0].output.to_string(), "[64, 112, 112]");
    /// println!("{summary}");
    /// # Ok::<(), wgpu_cnn::Error>(())
    /// ```
    pub fn summary(&self) -> Summary {
        let (graph, mut counted) = (&self.graph, HashSet::new());
        let layers = graph.nodes().iter().map(|node| {
            let own = node.parameters.iter().filter(|&&id| counted.insert(id));
            let own: Vec<_> = own.map(|&id| graph.parameter(id)).collect();
            let values = |learned| count(own.iter().copied(), learned) as u64;
            let (definition, output) = (node.op.definition(), graph.shape(node.output));
            // An operator that does not fit its inputs is no part of a model.
            let multiply_adds = definition.multiply_adds(&graph.input_shapes(node));
            LayerSummary {
                name: node.name.clone(),
                operator: node.op.name(),
                output: output.clone(),
                parameters: values(true),
                fixed: values(false),
                multiply_adds: multiply_adds.unwrap_or_default(),
                bytes: match definition.is_view() {
                    true => 0,
                    false => output.len() as u64 * 4,
                },
            }
        });
        Summary {
            layers: layers.collect(),
            inputs: self.input_shapes().cloned().collect(),
        }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head = [
            "layer",
            "operator",
            "output",
            "parameters",
            "fixed",
            "multiply-adds",
            "memory",
        ];
        let mut rows = vec![head.map(String::from).to_vec()];
        for input in &self.inputs {
            rows.push(vec!["".into(), "input".into(), input.to_string()]);
        }
        let row = |layer: &LayerSummary| {
            vec![
                layer.name.clone(),
                layer.operator.into(),
                layer.output.to_string(),
                layer.parameters.to_string(),
                layer.fixed.to_string(),
                layer.multiply_adds.to_string(),
                format!("{:.1} KiB", layer.bytes as f64 / 1024.0),
            ]
        };
        rows.extend(self.layers.iter().map(row));
        rows.push(row(&self.total()));
        table(f, 3, &rows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::{Add, Conv1d, Conv2d, ConvTranspose2d, Linear, PaddingMode, PointwiseLinear};

    #[test]
    fn the_table_says_what_each_layer_gives_and_costs() {
        let model = Model::builder([2, 9, 9])
            .push(Conv2d::new(8, 3).stride(2).groups(2))
            .batch_norm()
            .relu()
            .flatten()
            .dense(10);
        let summary = model.build().unwrap().summary();
        let expected = "\
layer  operator    output     parameters  fixed  multiply-adds   memory
       input       [2, 9, 9]
0      conv2d      [8, 4, 4]          80      0           1152  0.5 KiB
1      batch_norm  [8, 4, 4]          16     16              0  0.5 KiB
2      relu        [8, 4, 4]           0      0              0  0.5 KiB
3      flatten     [128]               0      0              0  0.0 KiB
4      linear      [10]             1290      0           1280  0.0 KiB
       total       [10]             1386     16           2432  1.5 KiB
";
        assert_eq!(summary.to_string(), expected);
        assert_eq!(summary.total().bytes, 3 * 512 + 40);
    }

    /// Counted by hand: outputs times what each is a sum of, and for the transpose inputs.
    #[test]
    fn products_are_counted_by_what_they_are() {
        let of = |model: Model| model.summary().total().multiply_adds;
        let image = || Model::builder([4, 5, 6]);
        let built = |builder: crate::ModelBuilder| of(builder.build().unwrap());
        let transposed = ConvTranspose2d::new(3, [2, 3]).stride(2);
        assert_eq!(built(image().push(transposed)), 30 * 4 * 3 * 6);
        let padded = Conv2d::new(6, 3)
            .padding(1)
            .padding_mode(PaddingMode::Reflect);
        assert_eq!(built(image().push(padded)), 30 * 6 * 4 * 9);
        let strided = Conv2d::new(6, 3).dilation(2).stride(2);
        assert_eq!(built(image().push(strided)), 6 * 4 * 9);
        assert_eq!(built(image().push(PointwiseLinear::new(7))), 30 * 4 * 7);
        assert_eq!(built(image().push(Linear::new(7))), 20 * 6 * 7);
        let signal = Model::builder([3, 10]).push(Conv1d::new(2, 4));
        assert_eq!(built(signal), 7 * 2 * 3 * 4);
        let bound = image()
            .relu()
            .max_pool2d(2)
            .batch_norm()
            .layer_norm()
            .dropout(0.1);
        assert_eq!(built(bound.softmax()), 0);
    }

    #[test]
    fn a_shared_layer_computes_twice_and_keeps_once() {
        let mut net = Model::graph();
        let x = net.input([3]);
        let y = net.add("first", Linear::new(3), [x]).unwrap();
        let z = net.share("first", "second", [y]).unwrap();
        let sum = net.add("sum", Add, [y, z]).unwrap();
        let summary = net.build([sum]).unwrap().summary();
        let total = summary.total();
        assert_eq!((total.parameters, total.multiply_adds), (12, 18));
        assert_eq!(summary.layers[1].parameters, 0);
    }
}
