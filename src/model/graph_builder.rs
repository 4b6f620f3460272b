//! Writing a model down as a graph: layers by name, values by handle.

use std::sync::atomic::{AtomicU64, Ordering};

use super::{Graph, Model, ModelBuilder, ValueId};
use crate::op::{Op, Slice};
use crate::{Error, Result, Shape};

/// A value in a graph in the making: an input, a constant, or what a layer gives. It can be used any
/// number of times, by the [`GraphBuilder`] that it comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Value {
    id: ValueId,
    /// The graph that it belongs to.
    graph: u64,
}

impl Value {
    /// Its place in the graph with this number, if it is one of its.
    fn of(self, graph: u64) -> Result<ValueId> {
        match self.graph == graph {
            true => Ok(self.id),
            false => Err(Error::argument("value", "belongs to another graph")),
        }
    }
}

/// A model in the making, as a graph: layers have the names that the user gives them, and what a layer
/// gives can be used in any number of places. [`Model::builder`] writes down a chain; the two mix, see
/// [`chain`](Self::chain) and [`ModelBuilder::graph`].
///
/// ```
/// use wgpu_cnn::{Activation, Add, BatchNorm, Conv2d, GlobalPool, Linear, Model};
/// let mut net = Model::graph();
/// let image = net.input([3, 32, 32]);
/// let stem = net.add("conv1", Conv2d::new(16, 3).padding(1).bias(false), [image])?;
/// let body = net.scope("layer1", |net| {
///     let y = net.add("conv", Conv2d::new(16, 3).padding(1).bias(false), [stem])?;
///     net.add("bn", BatchNorm::new(), [y])
/// })?;
/// let y = net.apply(Add, [stem, body])?;
/// let y = net.apply(Activation::Relu, [y])?;
/// let y = net.apply(GlobalPool::Average, [y])?;
/// let y = net.chain("head", y, |head| head.flatten().dense(10))?;
/// let model = net.build([y])?;
/// let names: Vec<&str> = model.parameters().map(|(name, _)| name).collect();
/// assert_eq!(names[..2], ["conv1.weight", "layer1.conv.weight"]);
/// assert_eq!(names.last(), Some(&"head.1.bias"));
/// # Ok::<(), wgpu_cnn::Error>(())
/// ```
#[derive(Debug)]
pub struct GraphBuilder {
    graph: Graph,
    id: u64,
    /// What names begin with: empty, or `layer1.0.`.
    scope: String,
    /// The first error of what gives no result by itself.
    error: Option<Error>,
    /// Whether the graph went with a builder that has not come back, which the error tells.
    lost: bool,
}

/// The number of a new graph.
fn next_id() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

impl GraphBuilder {
    pub(super) fn new() -> Self {
        Self::of(Graph::default(), String::new())
    }

    /// A graph that goes on.
    pub(super) fn of(graph: Graph, scope: String) -> Self {
        Self {
            graph,
            id: next_id(),
            scope,
            error: None,
            lost: false,
        }
    }

    /// An input of the model, by the shape of one example. A step takes the inputs in the order in which
    /// they were made. What is wrong with a shape, the next call that gives a `Result` tells.
    pub fn input(&mut self, shape: impl Into<Shape>) -> Value {
        let shape = shape.into();
        if let Err(error) = Graph::check_input(&shape) {
            self.error.get_or_insert(error);
        }
        let id = self.graph.push_input(shape);
        self.value(id)
    }

    /// A value that is the same for every example and is not learned, such as a mask. It is part of the
    /// model, as the stride of a layer is: weights files neither hold nor want it.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] where there are not as many values as the shape has elements,
    /// [`Error::Argument`] where the name is taken.
    pub fn constant(
        &mut self,
        name: &str,
        shape: impl Into<Shape>,
        values: impl Into<Vec<f32>>,
    ) -> Result<Value> {
        self.check()?;
        let name = self.scoped(name);
        let id = self
            .graph
            .push_constant(&name, shape.into(), values.into())?;
        Ok(self.value(id))
    }

    /// Adds a layer under a name, and gives its output. Its parameters are `<name>.weight` and so on,
    /// within the [scope](Self::scope).
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] where an input does not fit the layer, [`Error::Argument`] for options out of
    /// range, a name that is taken and a value of another graph. The graph is then as before.
    pub fn add(
        &mut self,
        name: &str,
        layer: impl Into<Op>,
        inputs: impl IntoIterator<Item = Value>,
    ) -> Result<Value> {
        let name = self.scoped(name);
        self.push(name, layer.into(), inputs)
    }

    /// Adds a layer that nobody asks for by name: it is called by its operator, with a number where that
    /// is taken.
    ///
    /// # Errors
    ///
    /// Those of [`add`](Self::add).
    pub fn apply(
        &mut self,
        layer: impl Into<Op>,
        inputs: impl IntoIterator<Item = Value>,
    ) -> Result<Value> {
        let op = layer.into();
        let name = self.graph.free_name(&self.scoped(op.name()));
        self.push(name, op, inputs)
    }

    /// The layer called `of` once more, on other values and with the same parameters, as in siamese
    /// networks: their gradients add up. `name` is what this use of it is called. In a
    /// [scope](Self::scope) `of` is a layer of that scope, or else one of this full name anywhere.
    ///
    /// # Errors
    ///
    /// Those of [`add`](Self::add), [`Error::Argument`] where no layer is called `of`, and
    /// [`Error::Shape`] where the inputs ask for parameters of other shapes.
    pub fn share(
        &mut self,
        of: &str,
        name: &str,
        inputs: impl IntoIterator<Item = Value>,
    ) -> Result<Value> {
        self.check()?;
        let (within, name, inputs) = (self.scoped(of), self.scoped(name), self.ids(inputs)?);
        let anywhere = !self.graph.has_layer(&within) && self.graph.has_layer(of);
        let of = if anywhere { of } else { &within };
        let id = self.graph.push_shared(of, name, inputs)?;
        Ok(self.value(id))
    }

    /// Builds a part of the graph whose names all begin with `name` and a dot. Scopes nest.
    ///
    /// # Errors
    ///
    /// Those of the part.
    pub fn scope<T>(&mut self, name: &str, part: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        let inner = format!("{}.", self.scoped(name));
        let outer = std::mem::replace(&mut self.scope, inner);
        let result = part(self);
        self.scope = outer;
        result
    }

    /// A chain of layers from a value on. They are called `<name>.0`, `<name>.1` and so on, as in a
    /// `torch.nn.Sequential` of that name.
    ///
    /// # Errors
    ///
    /// The first error met, which names its layer. The graph is then as before, unless another builder than
    /// the one that was given came back: the graph went with that one, and every later call says so.
    pub fn chain(
        &mut self,
        name: &str,
        from: Value,
        layers: impl FnOnce(ModelBuilder) -> ModelBuilder,
    ) -> Result<Value> {
        self.check()?;
        let prefix = format!("{}.", self.scoped(name));
        let (end, mark) = (self.id(from)?, self.graph.mark());
        let graph = std::mem::take(&mut self.graph);
        match ModelBuilder::within(graph, end, prefix, layers) {
            Ok((graph, end)) => {
                self.graph = graph;
                Ok(self.value(end))
            }
            Err((Some(graph), error)) => {
                self.graph = graph;
                self.graph.roll_back(mark);
                Err(error)
            }
            Err((None, error)) => {
                (self.error, self.lost) = (Some(error.clone()), true);
                Err(error)
            }
        }
    }

    /// A value in parts of these lengths along an axis, that of the channels being 0, as `torch.split`
    /// along `axis + 1`. Together they are the whole of it.
    ///
    /// ```
    /// # use wgpu_cnn::{Concat, Model};
    /// let mut net = Model::graph();
    /// let x = net.input([6, 4, 4]);
    /// let parts = net.split(x, 0, &[2, 4])?;
    /// let y = net.apply(Concat, [parts[1], parts[0]])?;
    /// assert_eq!(net.shape(parts[1])?.to_string(), "[4, 4, 4]");
    /// # Ok::<(), wgpu_cnn::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] where the lengths do not add up to the extent, or one of them is zero, and for an
    /// axis that is not there. The graph is then as before.
    pub fn split(&mut self, value: Value, axis: usize, lengths: &[usize]) -> Result<Vec<Value>> {
        let shape = self.shape(value)?;
        let whole = shape.get(axis).copied();
        let sum = lengths
            .iter()
            .try_fold(0usize, |sum, &len| sum.checked_add(len));
        if whole.is_none() || whole != sum {
            let expected = format!("lengths that add up to axis {axis} of {shape}");
            return Err(Error::shape("split", expected, format!("{lengths:?}")));
        }
        let (mut begin, mark) = (0, self.graph.mark());
        let parts = lengths.iter().map(|len| {
            let range = begin..begin + len;
            begin = range.end;
            self.apply(Slice::new(axis, range), [value])
        });
        let parts: Result<_> = parts.collect();
        parts.inspect_err(|_| self.graph.roll_back(mark))
    }

    /// Gives a parameter another name, and a shape of as many elements: for weights files in which it is
    /// called otherwise than here.
    ///
    /// ```
    /// # use wgpu_cnn::{BatchNorm, Model};
    /// let mut net = Model::graph();
    /// let x = net.input([8, 4, 4]);
    /// let y = net.add("norm", BatchNorm::new(), [x])?;
    /// net.rename("norm.weight", "gain", [8, 1, 1])?;
    /// let model = net.build([y])?;
    /// assert_eq!(model.parameters().next().unwrap().0, "gain");
    /// # Ok::<(), wgpu_cnn::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Error::Argument`] where there is no such parameter or the new name is taken, [`Error::Shape`]
    /// for another number of elements.
    pub fn rename(&mut self, parameter: &str, name: &str, shape: impl Into<Shape>) -> Result<()> {
        self.check()?;
        let id = self.graph.parameter_named(&self.scoped(parameter))?;
        let name = self.scoped(name);
        self.graph.rename(id, &name, shape.into())
    }

    /// Makes a parameter part of the model, such as the weights of a fixed filter: it has these values and
    /// is not learned, and weights files neither hold nor want it.
    ///
    /// # Errors
    ///
    /// [`Error::Argument`] where there is no such parameter, or it is a running statistic;
    /// [`Error::Shape`] for another number of values than it has elements.
    pub fn fix(&mut self, parameter: &str, values: impl Into<Vec<f32>>) -> Result<()> {
        self.check()?;
        let id = self.graph.parameter_named(&self.scoped(parameter))?;
        self.graph.fix(id, values.into())
    }

    /// The shape of one example of a value.
    ///
    /// # Errors
    ///
    /// [`Error::Argument`] for a value of another graph.
    pub fn shape(&self, value: Value) -> Result<&Shape> {
        self.check()?;
        let id = self.id(value)?;
        Ok(self.graph.shape(id))
    }

    /// The model that gives these values. Each is called as the layer that makes it.
    ///
    /// # Errors
    ///
    /// [`Error::Argument`] where there is no output, the same twice, two of one name, or one of another
    /// graph, and for a layer or an input from which no output is reached.
    pub fn build(self, outputs: impl IntoIterator<Item = Value>) -> Result<Model> {
        self.check()?;
        let outputs = self.ids(outputs)?;
        self.graph.finish(outputs)
    }

    /// The graph back, and the place in it of what a part gave; or the error of a graph that is no longer
    /// the one with this number.
    pub(super) fn end(
        self,
        id: u64,
        label: &str,
        given: Result<Value>,
    ) -> Result<(Graph, Result<ValueId>)> {
        let Self { graph, error, .. } = self;
        if self.id != id {
            let reason = "must keep the graph that it was given";
            return Err(Error::argument(format!("layer {label}"), reason));
        }
        match error {
            Some(error) if self.lost => Err(error),
            Some(error) => Ok((graph, given.and(Err(error)))),
            None => Ok((graph, given.and_then(|value| value.of(id)))),
        }
    }

    /// The number of this graph, and a handle on one of its values.
    pub(super) fn handle(&self, id: ValueId) -> (u64, Value) {
        (self.id, self.value(id))
    }

    fn push(
        &mut self,
        name: String,
        op: Op,
        inputs: impl IntoIterator<Item = Value>,
    ) -> Result<Value> {
        self.check()?;
        let inputs = self.ids(inputs)?;
        let id = self.graph.push(name, op, inputs)?;
        Ok(self.value(id))
    }

    fn scoped(&self, name: &str) -> String {
        format!("{}{name}", self.scope)
    }

    fn value(&self, id: ValueId) -> Value {
        Value { id, graph: self.id }
    }

    fn id(&self, value: Value) -> Result<ValueId> {
        let id = value.of(self.id)?;
        match self.graph.has(id) {
            true => Ok(id),
            false => Err(Error::argument("value", "is no longer in the graph")),
        }
    }

    fn ids(&self, values: impl IntoIterator<Item = Value>) -> Result<Vec<ValueId>> {
        values.into_iter().map(|value| self.id(value)).collect()
    }

    fn check(&self) -> Result<()> {
        self.error.clone().map_or(Ok(()), Err)
    }
}

#[cfg(test)]
#[path = "graph_builder_tests.rs"]
mod tests;
