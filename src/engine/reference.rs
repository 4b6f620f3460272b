//! A model on the CPU: the graph, walked operator by operator.

use crate::cpu::{self, Real};
use crate::model::{Graph, Node, ParameterId, ValueId};
use crate::op::{Loss, Op, Optimizer, Target};
use crate::{Error, Model, Result, Shape};

/// A model trained by the CPU reference, in `f32` or `f64`: what the GPU is held to, and what trains
/// where there is none.
///
/// ```
/// use wgpu_cnn::engine::Reference;
/// use wgpu_cnn::{Loss, Model, Optimizer, Target};
/// let model = Model::builder([2]).dense(8).tanh().dense(2).build()?;
/// let mut reference = Reference::<f32>::new(&model, Loss::default(), Optimizer::adam(0.05), 7)?;
/// let images = [0.0, 0.0, 0.0, 1.0, 1.0, 0.0, 1.0, 1.0];
/// let labels = Target::from(&[0u8, 1, 1, 0]);
/// for _ in 0..100 {
///     reference.step(&images, &labels)?;
/// }
/// assert!(reference.loss(&images, &labels)? < 0.1);
/// # Ok::<(), wgpu_cnn::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Reference<T> {
    model: Model,
    loss: Loss,
    optimizer: Optimizer,
    parameters: Vec<Vec<T>>,
    /// Of the last step, each as long as its parameter.
    gradients: Vec<Vec<T>>,
    /// Of each parameter, the optimizer's slots.
    state: Vec<Vec<Vec<T>>>,
    steps: u64,
    /// Kept between steps for its memory.
    tape: Tape<T>,
}

/// What a forward pass leaves for the backward pass, and the backward pass's own memory.
#[derive(Debug, Clone, Default)]
struct Tape<T> {
    /// Each value of the graph, `(N, ..)`.
    values: Vec<Vec<T>>,
    /// The loss's gradient with respect to each value; empty where none is needed or has arrived.
    gradients: Vec<Vec<T>>,
    /// Each node's argmax, empty but for max-pooling.
    argmax: Vec<Vec<u32>>,
    /// A further gradient of a value that is used more than once.
    further: Vec<T>,
}

impl<T: Real> Reference<T> {
    /// A model with its initial parameters, which depend on the model and the seed alone.
    ///
    /// # Errors
    ///
    /// [`Error::Argument`] where a hyper-parameter is out of its domain, [`Error::Shape`] where the
    /// loss does not fit the model's output.
    pub fn new(
        model: &Model,
        loss: Loss,
        optimizer: impl Into<Optimizer>,
        seed: u64,
    ) -> Result<Self> {
        let optimizer = optimizer.into();
        optimizer.check()?;
        loss.geometry(1, model.output_shape())?;
        let initial = model.graph.initial_values(seed).into_iter();
        let parameters: Vec<Vec<T>> = initial
            .map(|values| values.into_iter().map(T::nearest).collect())
            .collect();
        let gradients: Vec<Vec<T>> = parameters
            .iter()
            .map(|p| vec![T::zero(); p.len()])
            .collect();
        let state = gradients
            .iter()
            .map(|zeros| vec![zeros.clone(); optimizer.state_slots()])
            .collect();
        Ok(Self {
            model: model.clone(),
            loss,
            optimizer,
            parameters,
            gradients,
            state,
            steps: 0,
            tape: Tape::default(),
        })
    }

    /// The model's output `(N, ..)` for an input of `(N, ..)`, where N follows from the length.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] where the input holds no whole number of examples, or none at all.
    pub fn forward(&self, input: &[T]) -> Result<Vec<T>> {
        let mut tape = Tape::default();
        tape.forward(
            &self.model.graph,
            &self.parameters,
            input,
            self.batch(input)?,
        )?;
        Ok(tape.values.swap_remove(self.model.graph.output().0))
    }

    /// The loss of a batch, nothing else.
    ///
    /// # Errors
    ///
    /// Those of [`step`](Self::step).
    pub fn loss(&self, input: &[T], target: &Target) -> Result<T> {
        let output = self.forward(input)?;
        let mut gradient = vec![T::zero(); output.len()];
        let geometry = self
            .loss
            .geometry(self.batch(input)?, self.model.output_shape())?;
        cpu::loss_forward_backward(self.loss, &geometry, &output, target, &mut gradient)
    }

    /// The loss of a batch; [`gradient`](Self::gradient) then gives that of each parameter.
    ///
    /// # Errors
    ///
    /// Those of [`step`](Self::step).
    pub fn loss_and_gradients(&mut self, input: &[T], target: &Target) -> Result<T> {
        self.backward(input, target, false)
    }

    /// As [`loss_and_gradients`](Self::loss_and_gradients), with the loss's gradient with respect to
    /// the input, in the input's shape.
    ///
    /// # Errors
    ///
    /// Those of [`step`](Self::step).
    pub fn loss_and_input_gradient(&mut self, input: &[T], target: &Target) -> Result<(T, Vec<T>)> {
        let loss = self.backward(input, target, true)?;
        Ok((
            loss,
            self.tape.gradients[self.model.graph.input().0].clone(),
        ))
    }

    /// One step of training on a batch: loss, gradients, update. Gives the loss before the update.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] where the input holds no whole number of examples or none, or the target not
    /// as many; [`Error::Argument`] where a label is out of range or the loss takes none. Parameters,
    /// gradients and the optimizer's state are then as before.
    pub fn step(&mut self, input: &[T], target: &Target) -> Result<T> {
        let loss = self.loss_and_gradients(input, target)?;
        self.steps += 1;
        let parameters = self
            .parameters
            .iter_mut()
            .zip(&self.gradients)
            .zip(&mut self.state);
        for ((parameter, gradient), state) in parameters {
            cpu::optimizer_update(&self.optimizer, self.steps, parameter, gradient, state)?;
        }
        Ok(loss)
    }

    /// The steps taken so far.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// The model.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// Every parameter, in the order of [`Model::parameters`].
    pub fn parameters(&self) -> &[Vec<T>] {
        &self.parameters
    }

    /// A parameter by its name, for example `0.weight`.
    ///
    /// # Errors
    ///
    /// [`Error::Argument`] where the model has none of this name.
    pub fn parameter(&self, name: &str) -> Result<&[T]> {
        let ParameterId(id) = self.model.graph.parameter_named(name)?;
        Ok(&self.parameters[id])
    }

    /// A parameter by its name, to be changed.
    ///
    /// # Errors
    ///
    /// [`Error::Argument`] where the model has none of this name.
    pub fn parameter_mut(&mut self, name: &str) -> Result<&mut [T]> {
        let ParameterId(id) = self.model.graph.parameter_named(name)?;
        Ok(&mut self.parameters[id])
    }

    /// Replaces a parameter.
    ///
    /// # Errors
    ///
    /// [`Error::Argument`] where the model has none of this name, [`Error::Shape`] where its length
    /// is another.
    pub fn set_parameter(&mut self, name: &str, values: &[T]) -> Result<()> {
        let ParameterId(id) = self.model.graph.parameter_named(name)?;
        let shape = &self.model.graph.parameter(ParameterId(id)).shape;
        if shape.len() != values.len() {
            return Err(Error::length(name, shape, values.len()));
        }
        self.parameters[id].copy_from_slice(values);
        Ok(())
    }

    /// The last gradient of a parameter; zeros before the first.
    ///
    /// # Errors
    ///
    /// [`Error::Argument`] where the model has none of this name.
    pub fn gradient(&self, name: &str) -> Result<&[T]> {
        let ParameterId(id) = self.model.graph.parameter_named(name)?;
        Ok(&self.gradients[id])
    }

    /// The optimizer and its hyper-parameters.
    pub fn optimizer(&self) -> &Optimizer {
        &self.optimizer
    }

    /// Changes the learning rate, from the next step on.
    ///
    /// # Errors
    ///
    /// [`Error::Argument`] where it is negative, infinite or NaN.
    pub fn set_learning_rate(&mut self, learning_rate: f64) -> Result<()> {
        let mut optimizer = self.optimizer;
        optimizer.set_learning_rate(learning_rate);
        optimizer.check()?;
        self.optimizer = optimizer;
        Ok(())
    }

    /// The number of examples in a batch.
    fn batch(&self, input: &[T]) -> Result<usize> {
        let shape = self.model.input_shape();
        if input.is_empty() || !input.len().is_multiple_of(shape.len()) {
            let expected = format!(
                "one or more examples of {} elements, shape {shape}",
                shape.len()
            );
            return Err(Error::shape("input", expected, input.len()));
        }
        Ok(input.len() / shape.len())
    }

    fn backward(&mut self, input: &[T], target: &Target, input_gradient: bool) -> Result<T> {
        let (batch, graph) = (self.batch(input)?, &self.model.graph);
        let geometry = self.loss.geometry(batch, self.model.output_shape())?;
        target.check(self.loss, geometry.classes, geometry.rows)?;
        self.tape.forward(graph, &self.parameters, input, batch)?;
        let output = graph.output().0;
        self.tape
            .gradients
            .resize(self.tape.values.len(), Vec::new());
        self.tape.gradients.iter_mut().for_each(Vec::clear);
        let gradient = resized(
            &mut self.tape.gradients[output],
            self.tape.values[output].len(),
        );
        let output = &self.tape.values[output];
        let loss = cpu::loss_forward_backward(self.loss, &geometry, output, target, gradient)?;
        self.tape.backward(
            graph,
            &self.parameters,
            &mut self.gradients,
            batch,
            input_gradient,
        )?;
        Ok(loss)
    }
}

impl<T: Real> Tape<T> {
    /// Computes every value from the input.
    fn forward(
        &mut self,
        graph: &Graph,
        parameters: &[Vec<T>],
        input: &[T],
        batch: usize,
    ) -> Result<()> {
        self.values.resize(graph.values().count(), Vec::new());
        self.argmax.resize(graph.nodes().len(), Vec::new());
        resized(&mut self.values[graph.input().0], input.len()).copy_from_slice(input);
        for (node, argmax) in graph.nodes().iter().zip(&mut self.argmax) {
            let mut y = std::mem::take(&mut self.values[node.output.0]);
            let shape = graph.shape(node.inputs[0]);
            let x = &self.values[node.inputs[0].0];
            let y_slice = resized(&mut y, batch * graph.shape(node.output).len());
            let weight = weight(parameters, node);
            let bias = node.bias().map(|id| &parameters[id.0][..]);
            match &node.op {
                Op::Conv2d(conv) => {
                    let geometry = conv.geometry(batch, shape)?;
                    cpu::conv2d_forward(&geometry, x, weight, bias, y_slice)?;
                }
                Op::Linear(linear) => {
                    let geometry = linear.geometry(batch, shape)?;
                    cpu::linear_forward(&geometry, x, weight, bias, y_slice)?;
                }
                Op::MaxPool2d(pool) => {
                    let argmax = resized(argmax, y_slice.len());
                    cpu::max_pool2d_forward(&pool.geometry(batch, shape)?, x, y_slice, argmax)?;
                }
                Op::Activation(activation) => cpu::activation_forward(*activation, x, y_slice)?,
                Op::Flatten => y_slice.copy_from_slice(x),
                Op::Add => {
                    y_slice.copy_from_slice(x);
                    add(y_slice, &self.values[node.inputs[1].0]);
                }
            }
            self.values[node.output.0] = y;
        }
        Ok(())
    }

    /// Computes the parameters' gradients from the output's, and the input's if asked for.
    fn backward(
        &mut self,
        graph: &Graph,
        parameters: &[Vec<T>],
        gradients: &mut [Vec<T>],
        batch: usize,
        input_gradient: bool,
    ) -> Result<()> {
        let wanted = wanted_gradients(graph, input_gradient);
        for (index, node) in graph.nodes().iter().enumerate().rev() {
            let gy = std::mem::take(&mut self.gradients[node.output.0]);
            if gy.is_empty() || !wanted[node.output.0] {
                continue;
            }
            let shape = graph.shape(node.inputs[0]);
            self.parameter_gradients(node, shape, batch, &gy, gradients)?;
            for &ValueId(input) in node.inputs.iter().filter(|input| wanted[input.0]) {
                // The first gradient of a value is written in place, further ones add up.
                let first = self.gradients[input].is_empty();
                let place = if first {
                    &mut self.gradients[input]
                } else {
                    &mut self.further
                };
                let mut gx = std::mem::take(place);
                let gx_slice = resized(&mut gx, self.values[input].len());
                self.input_gradient(node, index, shape, batch, parameters, &gy, gx_slice)?;
                if first {
                    self.gradients[input] = gx;
                } else {
                    add(&mut self.gradients[input], &gx);
                    self.further = gx;
                }
            }
            self.gradients[node.output.0] = gy;
        }
        Ok(())
    }

    /// The gradients of a node's own parameters.
    fn parameter_gradients(
        &self,
        node: &Node,
        shape: &Shape,
        batch: usize,
        gy: &[T],
        gradients: &mut [Vec<T>],
    ) -> Result<()> {
        let x = &self.values[node.inputs[0].0];
        let mut gradient = |id: Option<ParameterId>, write: &dyn Fn(&mut [T]) -> Result<()>| {
            id.map_or(Ok(()), |ParameterId(id)| write(&mut gradients[id]))
        };
        match &node.op {
            Op::Conv2d(conv) => {
                let geometry = conv.geometry(batch, shape)?;
                gradient(node.weight(), &|gw| {
                    cpu::conv2d_backward_weight(&geometry, x, gy, gw)
                })?;
                gradient(node.bias(), &|gb| {
                    cpu::conv2d_backward_bias(&geometry, gy, gb)
                })
            }
            Op::Linear(linear) => {
                let geometry = linear.geometry(batch, shape)?;
                gradient(node.weight(), &|gw| {
                    cpu::linear_backward_weight(&geometry, x, gy, gw)
                })?;
                gradient(node.bias(), &|gb| {
                    cpu::linear_backward_bias(&geometry, gy, gb)
                })
            }
            Op::MaxPool2d(_) | Op::Activation(_) | Op::Flatten | Op::Add => Ok(()),
        }
    }

    /// The gradient that a node hands to one of its inputs.
    #[allow(clippy::too_many_arguments)]
    fn input_gradient(
        &self,
        node: &Node,
        index: usize,
        shape: &Shape,
        batch: usize,
        parameters: &[Vec<T>],
        gy: &[T],
        gx: &mut [T],
    ) -> Result<()> {
        let weight = weight(parameters, node);
        match &node.op {
            Op::Conv2d(conv) => {
                cpu::conv2d_backward_input(&conv.geometry(batch, shape)?, gy, weight, gx)
            }
            Op::Linear(linear) => {
                cpu::linear_backward_input(&linear.geometry(batch, shape)?, gy, weight, gx)
            }
            Op::MaxPool2d(pool) => {
                let argmax = &self.argmax[index];
                cpu::max_pool2d_backward(&pool.geometry(batch, shape)?, gy, argmax, gx)
            }
            Op::Activation(activation) => {
                let (x, y) = (&self.values[node.inputs[0].0], &self.values[node.output.0]);
                cpu::activation_backward(*activation, x, y, gy, gx)
            }
            Op::Flatten | Op::Add => {
                gx.copy_from_slice(gy);
                Ok(())
            }
        }
    }
}

/// Whether the gradient of each value is needed: by a parameter above it, or as the input's.
fn wanted_gradients(graph: &Graph, input_gradient: bool) -> Vec<bool> {
    let mut wanted = vec![input_gradient; graph.values().count()];
    for node in graph.nodes() {
        let passes_on = node.inputs.iter().any(|input| wanted[input.0]);
        wanted[node.output.0] = passes_on || !node.parameters.is_empty();
    }
    wanted
}

fn weight<'a, T>(parameters: &'a [Vec<T>], node: &Node) -> &'a [T] {
    node.weight().map_or(&[], |id| &parameters[id.0])
}

fn add<T: Real>(sum: &mut [T], term: &[T]) {
    sum.iter_mut()
        .zip(term)
        .for_each(|(sum, &term)| *sum += term);
}

/// The buffer as a slice of `len` elements, all of which are to be written.
fn resized<T: Copy + Default>(buffer: &mut Vec<T>, len: usize) -> &mut [T] {
    buffer.resize(len, T::default());
    buffer
}

#[cfg(test)]
mod tests {
    use super::*;

    fn small() -> (Model, Vec<f32>, Target) {
        let model = Model::builder([2, 9, 9])
            .conv2d(5, 3)
            .relu()
            .max_pool2d(2)
            .residual(|body| body.push(crate::Conv2d::new(5, 3).padding(1)).tanh())
            .flatten()
            .dense(4)
            .build()
            .unwrap();
        let input = (0..6 * 162)
            .map(|i| ((i * 37 % 101) as f32 - 50.0) / 50.0)
            .collect();
        (model, input, Target::from(&[0u8, 1, 2, 3, 0, 1]))
    }

    fn bits(reference: &Reference<f32>) -> Vec<u32> {
        reference
            .parameters()
            .iter()
            .flatten()
            .map(|value| value.to_bits())
            .collect()
    }

    #[test]
    fn training_reduces_the_loss() {
        let (model, input, target) = small();
        let mut reference =
            Reference::new(&model, Loss::default(), Optimizer::adam(1e-2), 1).unwrap();
        let first = reference.step(&input, &target).unwrap();
        for _ in 0..30 {
            reference.step(&input, &target).unwrap();
        }
        let last = reference.loss(&input, &target).unwrap();
        assert!(last < 0.1 * first, "{first} {last}");
        assert_eq!(reference.steps(), 31);
        assert_eq!(reference.forward(&input).unwrap().len(), 6 * 4);
    }

    #[test]
    #[cfg(feature = "native")]
    fn the_bits_do_not_depend_on_the_number_of_threads() {
        let (model, input, target) = small();
        let train = |threads| {
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .build()
                .unwrap();
            pool.install(|| {
                let optimizer = Optimizer::sgd(0.05).momentum(0.9);
                let mut reference = Reference::new(&model, Loss::default(), optimizer, 1).unwrap();
                for _ in 0..3 {
                    reference.step(&input, &target).unwrap();
                }
                bits(&reference)
            })
        };
        let one = train(1);
        assert_eq!(train(2), one);
        assert_eq!(train(5), one);
    }

    #[test]
    fn a_batch_of_another_size_leaves_nothing_behind() {
        let (model, input, target) = small();
        let new = || Reference::new(&model, Loss::default(), Optimizer::sgd(0.1), 3).unwrap();
        let (mut used, mut fresh) = (new(), new());
        let (part, labels) = (&input[..2 * 162], Target::from(&[2u8, 0]));
        used.loss_and_input_gradient(&input, &target).unwrap();
        assert_eq!(
            used.step(part, &labels).unwrap(),
            fresh.step(part, &labels).unwrap()
        );
        assert_eq!(bits(&used), bits(&fresh));
    }

    #[test]
    fn refused_calls_change_nothing() {
        let (model, input, target) = small();
        let mut reference =
            Reference::new(&model, Loss::default(), Optimizer::sgd(0.1), 3).unwrap();
        reference.step(&input, &target).unwrap();
        let before = (
            bits(&reference),
            reference.gradient("0.weight").unwrap().to_vec(),
        );
        assert!(reference.step(&[], &target).is_err());
        assert!(reference.step(&input[1..], &target).is_err());
        assert!(reference.step(&input, &Target::from(&[0u8; 5])).is_err());
        assert!(reference.step(&input, &Target::from(&[4u8; 6])).is_err());
        assert!(reference.set_learning_rate(f64::NAN).is_err());
        assert!(reference.set_parameter("0.weight", &[0.0]).is_err());
        assert!(reference.parameter("9.weight").is_err());
        let after = (
            bits(&reference),
            reference.gradient("0.weight").unwrap().to_vec(),
        );
        assert_eq!(before, after);
        assert_eq!(reference.steps(), 1);
        assert_eq!(reference.optimizer().learning_rate(), 0.1);
        let loss = Loss::default();
        assert!(Reference::<f32>::new(&model, loss, Optimizer::sgd(-1.0), 3).is_err());
        let image = Model::builder([1, 3, 3]).relu().build().unwrap();
        assert!(Reference::<f32>::new(&image, loss, Optimizer::sgd(0.1), 3).is_err());
    }
}
