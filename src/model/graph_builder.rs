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
    /// networks: their gradients add up. `name` is what this use of it is called.
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
        let (of, name, inputs) = (self.scoped(of), self.scoped(name), self.ids(inputs)?);
        let id = self.graph.push_shared(&of, name, inputs)?;
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
    /// The first error met, which names its layer.
    pub fn chain(
        &mut self,
        name: &str,
        from: Value,
        layers: impl FnOnce(ModelBuilder) -> ModelBuilder,
    ) -> Result<Value> {
        self.check()?;
        let prefix = format!("{}.", self.scoped(name));
        let end = self.id(from)?;
        let (graph, result) =
            ModelBuilder::within(std::mem::take(&mut self.graph), end, prefix, layers);
        match graph {
            Some(graph) => self.graph = graph,
            // It went with the builder that it was in.
            None => self.error = result.clone().err(),
        }
        Ok(self.value(result?))
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
    /// axis that is not there.
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
        let mut begin = 0;
        let parts = lengths.iter().map(|len| {
            let range = begin..begin + len;
            begin = range.end;
            self.apply(Slice::new(axis, range), [value])
        });
        parts.collect()
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
        let id = self.id(value)?;
        Ok(self.graph.shape(id))
    }

    /// The model that gives these values. Each is called as the layer that makes it.
    ///
    /// # Errors
    ///
    /// [`Error::Argument`] where there is no output, the same twice, or one of another graph, and for a
    /// layer or an input from which no output is reached.
    pub fn build(self, outputs: impl IntoIterator<Item = Value>) -> Result<Model> {
        self.check()?;
        let outputs = self.ids(outputs)?;
        self.graph.finish(outputs)
    }

    /// The graph back, and the places of its values, where it is still the one with this number.
    pub(super) fn end(self, id: u64) -> Option<(Graph, impl Fn(Value) -> Result<ValueId>)> {
        let Self { graph, error, .. } = self;
        let place = move |value: Value| match &error {
            Some(error) => Err(error.clone()),
            None => value.of(id),
        };
        (self.id == id).then_some((graph, place))
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
        value.of(self.id)
    }

    fn ids(&self, values: impl IntoIterator<Item = Value>) -> Result<Vec<ValueId>> {
        values.into_iter().map(|value| self.id(value)).collect()
    }

    fn check(&self) -> Result<()> {
        self.error.clone().map_or(Ok(()), Err)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Activation, Add, BatchNorm, Concat, Conv2d, Linear};

    fn said<T: std::fmt::Debug>(result: Result<T>) -> String {
        result.unwrap_err().to_string()
    }

    #[test]
    fn names_are_the_users_within_their_scopes() {
        let mut net = Model::graph();
        let x = net.input([2, 6, 6]);
        let y = net.scope("layer1", |net| {
            net.scope("0", |net| net.add("conv", Conv2d::new(3, 3), [x]))
        });
        let y = net.apply(Activation::Relu, [y.unwrap()]).unwrap();
        let y = net.apply(Activation::Relu, [y]).unwrap();
        let y = net.chain("head", y, |head| head.flatten().named("fc", Linear::new(2)));
        let model = net.build([y.unwrap()]).unwrap();
        let names: Vec<&str> = model.parameters().map(|(name, _)| name).collect();
        let conv = ["layer1.0.conv.weight", "layer1.0.conv.bias"];
        assert_eq!(
            names,
            [&conv[..], &["head.fc.weight", "head.fc.bias"]].concat()
        );
        let layers: Vec<&str> = model
            .graph
            .nodes()
            .iter()
            .map(|n| n.name.as_str())
            .collect();
        assert_eq!(
            layers,
            ["layer1.0.conv", "relu", "relu1", "head.0", "head.fc"]
        );
        assert_eq!(model.outputs().next().unwrap().0, "head.fc");
    }

    #[test]
    fn a_chain_and_a_graph_are_one_thing() {
        let chain = Model::builder([3, 8, 8])
            .conv2d(4, 3)
            .relu()
            .residual(|b| b.conv2d(4, 1));
        let mut net = Model::graph();
        let x = net.input([3, 8, 8]);
        let y = net.add("0", Conv2d::new(4, 3), [x]).unwrap();
        let y = net.add("1", Activation::Relu, [y]).unwrap();
        let body = net.add("2.body.0", Conv2d::new(4, 1), [y]).unwrap();
        let y = net.add("2", Add, [body, y]).unwrap();
        assert_eq!(net.build([y]).unwrap(), chain.build().unwrap());
    }

    #[test]
    fn what_cannot_be_is_refused_by_name() {
        let mut net = Model::graph();
        let x = net.input([2, 6, 6]);
        let y = net.add("a", Conv2d::new(3, 3), [x]).unwrap();
        let again = said(net.add("a", Activation::Relu, [y]));
        assert_eq!(
            again,
            "\"a\": is the name of another layer, constant or parameter"
        );
        assert!(said(net.constant("a.weight", [1], [0.0])).contains("\"a.weight\""));
        assert!(said(net.rename("a.weight", "a", [3, 2, 3, 3])).contains("is the name of"));
        let mut other = Model::graph();
        let foreign = other.input([3, 4, 4]);
        let said_of = "value: belongs to another graph";
        assert_eq!(said(net.apply(Add, [y, foreign])), said_of);
        assert_eq!(said(net.shape(foreign)), said_of);
        assert_eq!(said(net.chain("c", foreign, |c| c)), said_of);
        assert!(said(net.add("b", Conv2d::new(1, 9), [y])).starts_with("layer b (conv2d)"));
        assert!(said(net.rename("a.weight", "w", [3])).contains("54 elements"));
        assert!(said(net.share("z", "b", [x])).contains("\"z\""));
        assert!(said(net.share("a", "b", [y])).contains("shares those of a"));
        net.add("unused", Activation::Relu, [y]).unwrap();
        let unused = "layer unused (relu): reaches no output";
        assert_eq!(said(net.build([y])), unused);
        let mut net = Model::graph();
        let (x, _) = (net.input([4]), net.input([5]));
        assert_eq!(said(net.build([x])), "input 1: reaches no output");
        let mut net = Model::graph();
        let alone = net.constant("alone", [1], [0.5]).unwrap();
        assert!(said(net.build([alone])).starts_with("inputs: "));
        let mut net = Model::graph();
        let x = net.input([4]);
        assert!(said(Model::graph().build([])).starts_with("outputs: "));
        assert_eq!(said(net.build([x, x])), "output input: is given twice");
        let mut net = Model::graph();
        let x = net.input([4, 0]);
        assert!(said(net.apply(Activation::Relu, [x])).contains("extents above zero"));
    }

    #[test]
    fn a_graph_that_is_taken_away_is_missed() {
        let mut net = Model::graph();
        let x = net.input([4]);
        let lost = net.chain("c", x, |_| Model::builder([4]));
        let reason = "layer c: must return the builder that it was given";
        assert_eq!(said(lost), reason);
        assert_eq!(said(net.build([x])), reason);
        let taken = Model::builder([4]).graph(|net, x| {
            *net = Model::graph();
            Ok(x)
        });
        assert!(said(taken.dense(3).build()).contains("must keep the graph"));
        let foreign = Model::builder([4]).graph(|_, _| Ok(Model::graph().input([4])));
        assert_eq!(said(foreign.build()), "value: belongs to another graph");
    }

    #[test]
    fn a_layer_can_be_shared_and_its_parameters_fixed_and_renamed() {
        let mut net = Model::graph();
        let [a, b] = [(); 2].map(|()| net.input([4, 4, 4]));
        let left = net.add("norm", BatchNorm::new(), [a]).unwrap();
        let right = net.share("norm", "again", [b]).unwrap();
        net.fix("norm.bias", [1.0, 2.0, 3.0, 4.0]).unwrap();
        assert!(said(net.fix("norm.weight", [1.0])).contains("4 elements"));
        assert!(said(net.fix("norm.running_var", [1.0; 4])).contains("running"));
        net.rename("norm.weight", "gain", [4, 1, 1]).unwrap();
        let y = net.apply(Concat, [left, right]).unwrap();
        let model = net.build([y]).unwrap();
        let kept: Vec<String> = model
            .parameters()
            .map(|(n, s)| format!("{n} {s}"))
            .collect();
        let expected = [
            "gain [4, 1, 1]",
            "norm.running_mean [4]",
            "norm.running_var [4]",
        ];
        assert_eq!(kept, expected);
        assert_eq!(model.parameter_count(), 4);
        let initial = model.graph.initial_values(1);
        assert_eq!(initial[1], [1.0, 2.0, 3.0, 4.0]);
        let nodes = model.graph.nodes();
        assert_eq!(nodes[0].parameters, nodes[1].parameters);
    }
}
