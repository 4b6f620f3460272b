//! The graph of operators: how it is built, what shapes flow through it, how it starts, and its
//! weights on disk.
#![deny(clippy::wildcard_enum_match_arm)]

mod batch;
mod builder;
mod graph;
mod graph_builder;
mod groups;
mod init;
mod inputs;
mod losses;
mod pattern;
mod summary;
mod weights;

pub use batch::{AsInputs, IntoBatch};
pub use builder::{Branch, ModelBuilder};
pub(crate) use graph::{Folded, Graph, Node, Parameter, ParameterId, ValueId};
pub use graph_builder::{GraphBuilder, Value};
pub(crate) use groups::{Groups, Rate};
pub use inputs::{Input, Inputs};
pub use losses::{Losses, Targets};
pub(crate) use losses::{
    OutputLoss, Shares, check_accumulate, check_forwarded, check_gradients, check_not_due,
    check_own,
};
pub use pattern::Pattern;
pub use summary::{LayerSummary, Summary};
pub use weights::{LoadReport, SaveOptions, Weights};

use std::fmt::Display;
use std::sync::Arc;

use crate::{Result, Shape};

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
    /// Shared by all that are made of the model.
    pub(crate) graph: Arc<Graph>,
}

impl From<Graph> for Model {
    fn from(graph: Graph) -> Self {
        let graph = Arc::new(graph);
        Self { graph }
    }
}

impl Model {
    /// Begins a model whose examples have the shape `input`, without the batch: `[C, H, W]` for
    /// images, `[C, L]` for signals, `[F]` for rows of features.
    pub fn builder(input: impl Into<Shape>) -> ModelBuilder {
        ModelBuilder::new(input.into())
    }

    /// Begins a model that is a graph, with layers by name and values by handle.
    pub fn graph() -> GraphBuilder {
        GraphBuilder::new()
    }

    /// The shape of one example of the first input.
    pub fn input_shape(&self) -> &Shape {
        self.graph.shape(self.graph.input())
    }

    /// The shape of one example of each input, in the order in which a step takes them.
    pub fn input_shapes(&self) -> impl ExactSizeIterator<Item = &Shape> {
        let inputs = self.graph.inputs().iter();
        inputs.map(|&input| self.graph.shape(input))
    }

    /// Has an input be given as bytes, 0 to 255, in place of real numbers: a quarter of the memory that batches
    /// take on their way to the device, and of the time to get there. On the device each byte becomes
    /// `(byte / 255 - mean) / deviation`, with means and deviations of each channel, the first axis, or one for
    /// all: the very bits that `Transforms::normalise` of the feature `data` makes. The inputs are called
    /// `input`, `input 1` and so on.
    ///
    /// ```
    /// use wgpu_cnn::{Model, Trainer};
    /// let model = Model::builder([3, 2, 2]).flatten().dense(2).build()?;
    /// let photos = model.clone().take_bytes("input", [[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]])?;
    /// let mut trainer = Trainer::builder(photos).on_cpu()?;
    /// trainer.step(&[128u8; 24], [0u8, 1])?; // steps, predictions and evaluations take bytes
    /// assert_eq!(trainer.predict(&vec![255u8; 12])?.len(), 2);
    /// assert!(trainer.predict(&[0.5; 12]).is_err());
    /// # Ok::<(), wgpu_cnn::Error>(())
    /// ```
    ///
    /// All else is as it was: names and weights, checkpoints, which go on from one model to the other, and
    /// gradients with respect to the input, which are those of the numbers.
    ///
    /// # Errors
    /// [`Error::Argument`](crate::Error::Argument) for a name that no input has, a mean that is not finite and a deviation that is not
    /// above 0; [`Error::Shape`](crate::Error::Shape) for another number of them than the input has channels.
    pub fn take_bytes<const N: usize>(
        mut self,
        input: &str,
        [mean, deviation]: [[f32; N]; 2],
    ) -> Result<Self> {
        Arc::make_mut(&mut self.graph).take_bytes(input, &mean, &deviation)?;
        Ok(self)
    }

    /// The shape of one example of the first output.
    pub fn output_shape(&self) -> &Shape {
        self.graph.shape(self.graph.output())
    }

    /// The name of each output, that of the layer which makes it, and the shape of one example.
    pub fn outputs(&self) -> impl ExactSizeIterator<Item = (String, &Shape)> {
        let outputs = self.graph.outputs().iter();
        outputs.map(|&output| (self.graph.value_name(output), self.graph.shape(output)))
    }

    /// Each parameter's name and shape, in the order of the layers. Names and layouts are those of
    /// PyTorch: `conv1.weight` of `[O, C/groups, KH, KW]`, `conv1.bias` of `[O]`, dense weights of
    /// `[out, in]`; in a chain the layers are called as in a `torch.nn.Sequential`, `0` and so on.
    /// [Fixed](GraphBuilder::fix) ones are part of the model, and not among them.
    pub fn parameters(&self) -> impl Iterator<Item = (&str, &Shape)> {
        self.graph
            .kept()
            .map(|(_, parameter)| (parameter.name.as_str(), &parameter.shape))
    }

    /// The number of learned values.
    pub fn parameter_count(&self) -> usize {
        count(self.graph.parameters().iter(), true)
    }
}

/// The values of parameters that are learned, or of those that are not: running statistics and what is
/// fixed.
fn count<'a>(parameters: impl Iterator<Item = &'a Parameter>, learned: bool) -> usize {
    let asked = parameters.filter(|parameter| parameter.is_learned() == learned);
    asked.map(|parameter| parameter.shape.len()).sum()
}

impl Display for Model {
    /// A table of the layers: name, operator, output shape, number of learned values and of others that
    /// are kept, with the sums of both below. Those of a layer that shares another's count with the
    /// other.
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
        for &input in self.graph.inputs() {
            let kind = match self.graph.bytes(input) {
                Some(_) => "input of bytes",
                None => "input",
            };
            line("", kind, self.graph.shape(input), [&0, &0])?;
        }
        for layer in self.summary().layers {
            let counts: [&dyn Display; 2] = [&layer.parameters, &layer.fixed];
            line(&layer.name, layer.operator, &layer.output, counts)?;
        }
        let others = count(self.graph.parameters().iter(), false);
        let counts: [&dyn Display; 2] = [&self.parameter_count(), &others];
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
