//! Chains beside each other from one value.

use std::sync::Arc;

use super::ModelBuilder;
use crate::Error;
use crate::model::{Graph, ValueId};
use crate::op::{Add, Concat, Mul, Op};

/// A chain of layers from a given value on: one of several of [`ModelBuilder::concat`] and
/// [`ModelBuilder::join`].
pub struct Branch<'a>(Box<dyn FnOnce(ModelBuilder) -> ModelBuilder + 'a>);

impl<'a> Branch<'a> {
    /// The layers that a closure adds to the builder that it is given. One that adds nothing hands the
    /// value on.
    pub fn new(layers: impl FnOnce(ModelBuilder) -> ModelBuilder + 'a) -> Self {
        Self(Box::new(layers))
    }
}

impl<'a, F: FnOnce(ModelBuilder) -> ModelBuilder + 'a> From<F> for Branch<'a> {
    fn from(layers: F) -> Self {
        Self::new(layers)
    }
}

impl std::fmt::Debug for Branch<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Branch").finish_non_exhaustive()
    }
}

impl ModelBuilder {
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
        self.residual_with(body, |shortcut| shortcut)
    }

    /// `body(x) + shortcut(x)`, for a body that changes the shape. The shortcut's layers are named
    /// `<i>.shortcut.<j>`.
    pub fn residual_with(
        self,
        body: impl FnOnce(Self) -> Self,
        shortcut: impl FnOnce(Self) -> Self,
    ) -> Self {
        self.branches(
            Add.into(),
            [
                ("body".into(), Branch::new(body)),
                ("shortcut".into(), Branch::new(shortcut)),
            ],
        )
    }

    /// `x * gate(x)`, element by element, where the gate may have one position, as that of squeeze and
    /// excitation (Hu et al. 2018) does, or one channel. Its layers are named `<i>.gate.<j>`.
    ///
    /// ```
    /// use wgpu_cnn::Model;
    /// let model = Model::builder([16, 8, 8])
    ///     .gate(|gate| gate.global_avg_pool().conv2d(4, 1).relu().conv2d(16, 1).sigmoid())
    ///     .build()?;
    /// assert_eq!(model.output_shape().to_string(), "[16, 8, 8]");
    /// # Ok::<(), wgpu_cnn::Error>(())
    /// ```
    pub fn gate(self, gate: impl FnOnce(Self) -> Self) -> Self {
        self.branches(
            Mul.into(),
            [
                ("value".into(), Branch::new(|value| value)),
                ("gate".into(), Branch::new(gate)),
            ],
        )
    }

    /// Several chains from the same value, their outputs one after the other along the channels. The
    /// layers of the k-th are named `<i>.<k>.<j>`.
    ///
    /// ```
    /// use wgpu_cnn::{Branch, Conv2d, Model};
    /// let widths = [8, 16];
    /// let model = Model::builder([4, 9, 9])
    ///     .concat([
    ///         Branch::new(|branch| branch.conv2d(widths[0], 1).relu()),
    ///         Branch::new(|branch| branch.push(Conv2d::new(widths[1], 3).padding(1)).relu()),
    ///     ])
    ///     .concat(widths.map(|width| Branch::new(move |branch| branch.conv2d(width, 1))))
    ///     .build()?;
    /// assert_eq!(model.output_shape().to_string(), "[24, 9, 9]");
    /// # Ok::<(), wgpu_cnn::Error>(())
    /// ```
    pub fn concat<'a, B: Into<Branch<'a>>>(self, branches: impl IntoIterator<Item = B>) -> Self {
        self.join(Concat, branches)
    }

    /// Several chains from the same value, joined by an operator that takes as many. The layers of the
    /// k-th are named `<i>.<k>.<j>`.
    pub fn join<'a, B: Into<Branch<'a>>>(
        self,
        join: impl Into<Op>,
        branches: impl IntoIterator<Item = B>,
    ) -> Self {
        let numbered = branches.into_iter().enumerate();
        self.branches(
            join.into(),
            numbered.map(|(k, branch)| (k.to_string(), branch.into())),
        )
    }

    /// Named chains from the same value, joined by an operator.
    fn branches<'a>(
        mut self,
        join: Op,
        branches: impl IntoIterator<Item = (String, Branch<'a>)>,
    ) -> Self {
        let (name, start, layers) = (self.next_name(), self.end, self.layers);
        let (outer, whole, mut ends) = (self.prefix.clone(), self.chain.clone(), Vec::new());
        for (branch, Branch(body)) in branches {
            let error = self.error.clone();
            let (prefix, label) = (format!("{name}.{branch}."), format!("{name} {branch}"));
            let (inner, kept) = Self { end: start, ..self }.inside(prefix, body);
            self = inner;
            if !kept {
                let foreign = || foreign(&label);
                (self.error, self.lost) = (Some(error.unwrap_or_else(foreign)), true);
            }
            ends.push(self.end);
        }
        Self {
            prefix: outer,
            layers,
            chain: whole,
            ..self
        }
        .append(name, join, ends)
    }

    /// What layers make of this builder's end under other names, and whether it is still this builder:
    /// what another one holds was not made from this value, nor under these names. The graph is lost
    /// with the builder that it went to, and so is the error that it had.
    fn inside(self, prefix: String, layers: impl FnOnce(Self) -> Self) -> (Self, bool) {
        let chain = Arc::new(());
        let inner = layers(Self {
            prefix,
            layers: 0,
            chain: chain.clone(),
            ..self
        });
        let kept = Arc::ptr_eq(&inner.chain, &chain);
        (inner, kept)
    }

    /// A chain in a graph, from a value on: the graph and the chain's end, or an error and the graph, if
    /// it is still there.
    #[allow(clippy::result_large_err)] // the graph is handed back
    pub(in crate::model) fn within(
        graph: Graph,
        end: ValueId,
        prefix: String,
        layers: impl FnOnce(Self) -> Self,
    ) -> Result<(Graph, ValueId), (Option<Graph>, Error)> {
        let label = prefix.trim_end_matches('.').to_string();
        let start = Self {
            graph,
            end,
            prefix: String::new(),
            layers: 0,
            chain: Arc::new(()),
            error: None,
            lost: false,
        };
        match start.inside(prefix, layers) {
            (_, false) => Err((None, foreign(&label))),
            (inner, true) => match inner.error {
                Some(error) => Err(((!inner.lost).then_some(inner.graph), error)),
                None => Ok((inner.graph, inner.end)),
            },
        }
    }
}

/// A branch has returned another builder than its own.
fn foreign(label: &str) -> Error {
    let reason = "must return the builder that it was given";
    Error::argument(format!("layer {label}"), reason)
}
