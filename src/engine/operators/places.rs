//! Where an operator stands, and the places that it reads from and writes to: regions of device
//! memory for the kernels, slices for the reference.

use super::Pieces;
use crate::Shape;
use crate::engine::internal;
use crate::gpu::kernels::{Incoming, Output};
use crate::gpu::record::Region;
use crate::model::{Graph, Node};
use crate::op::{Activation, Op};
use crate::{Error, Result};

/// How a node computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::engine) enum Mode {
    /// With dropout, and normalisation by the batch's own statistics.
    Training,
    /// Without dropout, and normalisation by the running statistics.
    Evaluation,
}

impl Mode {
    /// How a node computes in a pass of this mode: the one place that says so.
    pub fn of(self, node: &Node) -> Self {
        let mut mode = self;
        if let Op::BatchNorm(norm) = &node.op
            && norm.frozen
        {
            mode = Self::Evaluation;
        }
        mode
    }
}

/// What dropout's masks follow from, beside layer and element.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::engine) struct Masks {
    pub seed: u64,
    /// Updates before this batch.
    pub updates: u64,
    /// Examples of its update before it.
    pub examples: u64,
}

/// Where an operator stands: its shapes, its batch, and how it computes.
#[derive(Debug, Clone)]
pub(in crate::engine) struct Site<'a> {
    pub batch: usize,
    /// The batch that buffers are made for, at least `batch`.
    pub planned: usize,
    /// The shape of one example of each input.
    pub inputs: Vec<&'a Shape>,
    /// The shape of one example of the output.
    pub output: &'a Shape,
    pub mode: Mode,
    /// The number that tells its random words from those of other nodes.
    pub layer: u32,
    /// For the reference; kernels get theirs with each step.
    pub masks: Masks,
    /// Whether a batch's own mean and variance take the place of the running ones, which they are folded into
    /// later.
    pub folds_later: bool,
    /// For the reference: whether convolutions are computed by the sums that define them alone. Kernels are
    /// told by their recording.
    pub direct_only: bool,
}

impl<'a> Site<'a> {
    /// A node's site in a pass of a mode, for batches of one size.
    pub fn new(graph: &'a Graph, node: &Node, batch: usize, mode: Mode) -> Self {
        Self {
            batch,
            planned: batch,
            inputs: graph.input_shapes(node),
            output: graph.shape(node.output),
            mode: mode.of(node),
            layer: node.layer,
            masks: Masks::default(),
            folds_later: false,
            direct_only: true,
        }
    }

    /// The shape of one example of the first input.
    pub fn input(&self) -> &'a Shape {
        self.inputs[0]
    }

    /// Elements of the output.
    pub fn len(&self) -> usize {
        self.batch * self.output.len()
    }

    /// Elements of the output of the planned batch.
    pub fn planned_len(&self) -> usize {
        self.planned * self.output.len()
    }

    pub fn is_training(&self) -> bool {
        self.mode == Mode::Training
    }
}

/// What an operator's kernels can do of an activation of their results.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::engine) enum Applies {
    Nothing,
    /// They apply it to what they write.
    Values,
    /// So they do, after adding another value where [`Output::addend`] is one; and the first of them that reads
    /// the output's gradient makes it that of the argument, where [`Backward::through`] says so.
    Everything,
}

/// What the kernels of a forward pass keep beside the value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::engine) struct Keeps {
    pub label: &'static str,
    /// Elements for the planned batch.
    pub len: usize,
}

/// The places of a forward pass.
#[derive(Debug, Clone)]
pub(in crate::engine) struct Forward {
    pub inputs: Vec<Region>,
    /// As the operator reads them: in half precision where it [does so](crate::op::Definition).
    pub parameters: Vec<Pieces>,
    pub output: Output,
    /// What [`Keeps`] asked for.
    pub kept: Option<Region>,
}

/// The places of the gradients.
#[derive(Debug, Clone)]
pub(in crate::engine) struct Backward {
    pub inputs: Vec<Region>,
    pub parameters: Vec<Pieces>,
    /// The value that the forward pass wrote.
    pub output: Region,
    pub kept: Option<Region>,
    /// The gradient of the output.
    pub gradient: Region,
    /// Where that gradient is with respect to what an activation made of the output: the activation, and its
    /// argument. The operator makes it the gradient of the argument, in place, before all else.
    pub through: Option<(Activation, Region)>,
    pub to_inputs: Vec<Option<Output>>,
    /// By parameter; none for statistics.
    pub to_parameters: Vec<Option<Pieces>>,
}

impl Forward {
    pub fn kept(&self) -> Result<Region> {
        self.kept.ok_or_else(nothing_kept)
    }

    /// Where a parameter lies that is never taken apart.
    pub fn whole(&self, parameter: usize) -> Result<Region> {
        self.parameters[parameter].whole()
    }

    /// The same of the bias of a layer with weights, if it has one.
    pub fn bias(&self) -> Result<Option<Region>> {
        self.parameters.get(1).map(Pieces::whole).transpose()
    }
}

impl Backward {
    pub fn kept(&self) -> Result<Region> {
        self.kept.ok_or_else(nothing_kept)
    }

    /// Where a parameter lies that is never taken apart.
    pub fn whole(&self, parameter: usize) -> Result<Region> {
        self.parameters[parameter].whole()
    }

    /// The gradient of the output, for the kernel that is the first to read it.
    pub fn incoming(&self) -> Incoming {
        Incoming {
            region: self.gradient,
            through: self.through,
        }
    }

    /// Where the gradient of a parameter goes, if it is wanted.
    pub fn to_pieces(&self, parameter: usize) -> Option<&Pieces> {
        self.to_parameters.get(parameter)?.as_ref()
    }

    /// The same of a parameter that is never taken apart.
    pub fn to_parameter(&self, parameter: usize) -> Result<Option<Region>> {
        self.to_pieces(parameter).map(Pieces::whole).transpose()
    }
}

fn nothing_kept() -> Error {
    internal("a forward pass kept nothing")
}

/// What the reference's forward pass keeps beside the value.
#[derive(Debug, Clone, Default)]
pub(in crate::engine) struct Kept<T> {
    /// Positions, as of maxima.
    pub indices: Vec<u32>,
    /// Statistics, as mean and variance.
    pub moments: [Vec<T>; 2],
    /// The running statistics as the batch makes them, in the order of the parameters; empty where it
    /// leaves them alone.
    pub running: Vec<Vec<T>>,
}

/// What the reference's gradients are computed from.
#[derive(Debug)]
pub(in crate::engine) struct Saved<'a, T> {
    pub x: Vec<&'a [T]>,
    pub parameters: Vec<&'a [T]>,
    pub y: &'a [T],
    pub kept: &'a Kept<T>,
}

/// Where the reference's gradients go.
#[derive(Debug)]
pub(in crate::engine) struct Gradients<'a, T> {
    pub inputs: Vec<Option<&'a mut [T]>>,
    /// By parameter; none for statistics.
    pub parameters: Vec<Option<&'a mut [T]>>,
}

impl<T> Gradients<'_, T> {
    /// The place of an input's gradient, if it is wanted.
    pub fn input(&mut self, position: usize) -> Option<&mut [T]> {
        self.inputs.get_mut(position)?.as_deref_mut()
    }

    /// The place of a parameter's gradient, if it is wanted.
    pub fn parameter(&mut self, parameter: usize) -> Option<&mut [T]> {
        self.parameters.get_mut(parameter)?.as_deref_mut()
    }
}

/// The buffer as a slice of `len` elements, all of which are to be written.
pub(super) fn resized<T: Copy + Default>(buffer: &mut Vec<T>, len: usize) -> &mut [T] {
    buffer.resize(len, T::default());
    buffer
}
