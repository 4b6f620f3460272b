//! Writing a model down, layer after layer.

use super::{Graph, Model, ValueId};
use crate::op::{Activation, Conv2d, Linear, MaxPool2d, Op, Size2};
use crate::{Error, Result, Shape};

/// A model in the making. Each call adds a layer to the end of the chain; an error is kept and
/// returned by [`build`](Self::build), so that a chain reads as one.
#[derive(Debug, Clone)]
pub struct ModelBuilder {
    graph: Graph,
    /// The end of the chain so far.
    end: ValueId,
    /// What the names of this chain's layers begin with: empty, or `3.body.`.
    prefix: String,
    /// Layers of this chain so far.
    layers: usize,
    error: Option<Error>,
}

impl ModelBuilder {
    pub(super) fn new(input: Shape) -> Self {
        let error = match input.len() {
            0 => Some(Error::shape("input", "extents above zero", &input)),
            _ => None,
        };
        let graph = Graph::new(input);
        let end = graph.input();
        Self {
            graph,
            end,
            prefix: String::new(),
            layers: 0,
            error,
        }
    }

    /// Adds any layer in its full form.
    ///
    /// ```
    /// use wgpu_cnn::{Conv2d, MaxPool2d, Model, Padding};
    /// Model::builder([3, 32, 32])
    ///     .push(Conv2d::new(32, [3, 5]).stride([2, 1]).padding(Padding::Same).bias(false))
    ///     .push(MaxPool2d::new(3).stride(2).padding(1))
    ///     .build()?;
    /// # Ok::<(), wgpu_cnn::Error>(())
    /// ```
    pub fn push(self, layer: impl Into<Op>) -> Self {
        let (name, inputs) = (self.next_name(), vec![self.end]);
        self.append(name, layer.into(), inputs)
    }

    /// A convolution with `out_channels` filters at stride 1 without padding: short for
    /// [`Conv2d::new`].
    pub fn conv2d(self, out_channels: usize, kernel: impl Into<Size2>) -> Self {
        self.push(Conv2d::new(out_channels, kernel))
    }

    /// Max-pooling over windows that touch without overlapping: short for [`MaxPool2d::new`].
    pub fn max_pool2d(self, kernel: impl Into<Size2>) -> Self {
        self.push(MaxPool2d::new(kernel))
    }

    /// A dense layer: short for [`Linear::new`].
    pub fn dense(self, out_features: usize) -> Self {
        self.push(Linear::new(out_features))
    }

    /// `max(x, 0)`.
    pub fn relu(self) -> Self {
        self.push(Activation::Relu)
    }

    /// The logistic function.
    pub fn sigmoid(self) -> Self {
        self.push(Activation::Sigmoid)
    }

    /// The hyperbolic tangent.
    pub fn tanh(self) -> Self {
        self.push(Activation::Tanh)
    }

    /// Makes all axes one, as a dense layer after an image wants it.
    pub fn flatten(self) -> Self {
        self.push(Op::Flatten)
    }

    /// `body(x) + x`, the residual connection of He et al. 2016. The body's layers are named
    /// `<i>.body.<j>`, where `i` is the block's own place in the chain.
    ///
    /// ```
    /// use wgpu_cnn::{Conv2d, Model};
    /// let model = Model::builder([8, 16, 16])
    ///     .residual(|body| body.push(Conv2d::new(8, 3).padding(1)).relu())
    ///     .relu()
    ///     .build()?;
    /// assert_eq!(model.parameters().next().unwrap().0, "0.body.0.weight");
    /// # Ok::<(), wgpu_cnn::Error>(())
    /// ```
    pub fn residual(self, body: impl FnOnce(Self) -> Self) -> Self {
        let (name, start, prefix) = (self.next_name(), self.end, self.prefix.clone());
        let layers = self.layers;
        let inner = Self {
            prefix: format!("{name}.body."),
            layers: 0,
            ..self
        };
        let inner = body(inner);
        let end = inner.end;
        Self {
            prefix,
            layers,
            ..inner
        }
        .append(name, Op::Add, vec![end, start])
    }

    /// The model, or the first error met, which names its layer.
    pub fn build(self) -> Result<Model> {
        match self.error {
            Some(error) => Err(error),
            None => Ok(Model { graph: self.graph }),
        }
    }

    fn next_name(&self) -> String {
        format!("{}{}", self.prefix, self.layers)
    }

    fn append(mut self, name: String, op: Op, inputs: Vec<ValueId>) -> Self {
        if self.error.is_none() {
            match self.graph.push(name, op, inputs) {
                Ok(value) => self.end = value,
                Err(error) => self.error = Some(error),
            }
        }
        self.layers += 1;
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_a_sequential_container() {
        let model = Model::builder([1, 8, 8])
            .conv2d(4, 3)
            .relu()
            .residual(|body| body.push(Conv2d::new(4, 3).padding(1)).relu())
            .flatten()
            .dense(3)
            .build()
            .unwrap();
        let names: Vec<&str> = model.parameters().map(|(name, _)| name).collect();
        let expected = [
            "0.weight",
            "0.bias",
            "2.body.0.weight",
            "2.body.0.bias",
            "4.weight",
            "4.bias",
        ];
        assert_eq!(names, expected);
    }

    #[test]
    fn shape_errors_name_the_layer() {
        let error = Model::builder([1, 8, 8])
            .conv2d(4, 3)
            .relu()
            .conv2d(4, 9)
            .dense(3)
            .build();
        let error = error.unwrap_err();
        assert!(matches!(&error, Error::Shape { layer, .. } if layer == "layer 2 (conv2d)"));
        assert!(error.to_string().contains("at least 9x9"), "{error}");
        let error = Model::builder([3, 8, 8])
            .residual(|body| body.conv2d(3, 3))
            .build();
        let error = error.unwrap_err().to_string();
        assert_eq!(
            error,
            "layer 0 (add): expected two values of [3, 6, 6], got [3, 8, 8]"
        );
        for input in [vec![], vec![0, 8, 8], vec![8]] {
            assert!(Model::builder(input).conv2d(4, 3).build().is_err());
        }
    }
}
