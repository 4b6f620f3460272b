//! The graph of operators: how it is built, what shapes flow through it, how it starts, and its
//! weights on disk.
#![deny(clippy::wildcard_enum_match_arm)]

mod builder;
mod graph;
mod init;
mod weights;

pub use builder::ModelBuilder;
pub(crate) use graph::{Graph, Node, Parameter, ParameterId, ValueId};
pub(crate) use weights::Weights;
#[cfg(feature = "native")]
pub(crate) use weights::write_weights;

use std::fmt::Display;

use crate::Shape;

/// A network: operators and the shapes between them. It holds no weights; a
/// [`Trainer`](crate::Trainer) does.
///
/// ```
/// use wgpu_cnn::Model;
/// let model = Model::builder([1, 28, 28])
///     .conv2d(32, 5).relu().max_pool2d(2)
///     .flatten().dense(10)
///     .build()?;
/// assert_eq!(model.parameter_count(), 32 * 25 + 32 + 4608 * 10 + 10);
/// println!("{model}");
/// # Ok::<(), wgpu_cnn::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Model {
    pub(crate) graph: Graph,
}

impl Model {
    /// Begins a model whose examples have the shape `input`, without the batch: `[C, H, W]` for
    /// images, `[C, L]` for signals, `[F]` for rows of features.
    pub fn builder(input: impl Into<Shape>) -> ModelBuilder {
        ModelBuilder::new(input.into())
    }

    /// The shape of one input example.
    pub fn input_shape(&self) -> &Shape {
        self.graph.shape(self.graph.input())
    }

    /// The shape of one example's output.
    pub fn output_shape(&self) -> &Shape {
        self.graph.shape(self.graph.output())
    }

    /// Each parameter's name and shape, in the order of the layers. Names and layouts are those of
    /// a `torch.nn.Sequential` of the same layers: `0.weight` of `[O, C/groups, KH, KW]`, `0.bias`
    /// of `[O]`, dense weights of `[out, in]`.
    pub fn parameters(&self) -> impl Iterator<Item = (&str, &Shape)> {
        self.graph
            .parameters()
            .iter()
            .map(|parameter| (parameter.name.as_str(), &parameter.shape))
    }

    /// The number of learned values.
    pub fn parameter_count(&self) -> usize {
        count(self.graph.parameters().iter(), true)
    }
}

/// The values of parameters that are learned, or of those that are running statistics.
fn count<'a>(parameters: impl Iterator<Item = &'a Parameter>, learned: bool) -> usize {
    let asked = parameters.filter(|parameter| parameter.is_learned() == learned);
    asked.map(|parameter| parameter.shape.len()).sum()
}

impl Display for Model {
    /// A table of the layers: name, operator, output shape, number of learned values and of running
    /// statistics, with the sums of both below.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut line =
            |layer: &str, operator: &str, output: &dyn Display, counts: [&dyn Display; 2]| {
                let (output, [learned, statistics]) = (output.to_string(), counts);
                writeln!(
                    f,
                    "{layer:<12} {operator:<14} {output:<18} {learned:>12} {statistics:>12}"
                )
            };
        line(
            "layer",
            "operator",
            &"output",
            [&"parameters", &"statistics"],
        )?;
        line("", "input", self.input_shape(), [&0, &0])?;
        for node in self.graph.nodes() {
            let parameters = || node.parameters.iter().map(|&id| self.graph.parameter(id));
            let [learned, statistics] = [true, false].map(|learned| count(parameters(), learned));
            let output = self.graph.shape(node.output);
            line(&node.name, node.op.name(), output, [&learned, &statistics])?;
        }
        let statistics = count(self.graph.parameters().iter(), false);
        let counts: [&dyn Display; 2] = [&self.parameter_count(), &statistics];
        line("", "total", self.output_shape(), counts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_total_is_the_sum_of_its_column() {
        let model = Model::builder([2, 9, 9])
            .conv2d(8, 3)
            .batch_norm()
            .residual(|body| body.conv2d(8, 1).batch_norm())
            .flatten()
            .dense(10)
            .build();
        let model = model.unwrap();
        let table = model.to_string();
        let rows: Vec<Vec<&str>> = table
            .lines()
            .map(|row| row.split_whitespace().collect())
            .collect();
        let column = |back: usize| {
            let numbers = rows[1..]
                .iter()
                .map(|row| row[row.len() - back].parse().unwrap());
            let numbers: Vec<usize> = numbers.collect();
            let (total, layers) = numbers.split_last().unwrap();
            assert_eq!(*total, layers.iter().sum::<usize>(), "{table}");
            (rows[0][rows[0].len() - back], *total)
        };
        assert_eq!(column(2), ("parameters", model.parameter_count()));
        assert_eq!(column(1), ("statistics", 4 * 8));
        let all: usize = model.parameters().map(|(_, shape)| shape.len()).sum();
        assert_eq!(all, column(2).1 + column(1).1);
    }
}
