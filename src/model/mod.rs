//! The graph of operators: how it is built, what shapes flow through it, how it starts, and its
//! weights on disk.
#![deny(clippy::wildcard_enum_match_arm)]

mod builder;
mod graph;
mod init;
mod weights;

pub use builder::ModelBuilder;
pub(crate) use graph::{Graph, Node, ParameterId, ValueId};
pub(crate) use weights::Weights;
#[cfg(feature = "native")]
pub(crate) use weights::write_weights;

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
        let learned = self
            .graph
            .parameters()
            .iter()
            .filter(|parameter| parameter.is_learned());
        learned.map(|parameter| parameter.shape.len()).sum()
    }
}

impl std::fmt::Display for Model {
    /// A table of the layers: name, operator, output shape, number of learned values.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(
            f,
            "{:<12} {:<14} {:<18} {:>12}",
            "layer", "operator", "output", "parameters"
        )?;
        let row = |f: &mut std::fmt::Formatter<'_>, name: &str, op: &str, shape: &Shape, count| {
            writeln!(
                f,
                "{name:<12} {op:<14} {:<18} {count:>12}",
                shape.to_string()
            )
        };
        row(f, "", "input", self.input_shape(), 0)?;
        for node in self.graph.nodes() {
            let count = node
                .parameters
                .iter()
                .map(|&p| self.graph.parameter(p).shape.len())
                .sum();
            row(
                f,
                &node.name,
                node.op.name(),
                self.graph.shape(node.output),
                count,
            )?;
        }
        row(f, "", "total", self.output_shape(), self.parameter_count())
    }
}
