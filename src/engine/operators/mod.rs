//! What the engine does with each operator, a file a family: how its kernels are recorded, what the
//! reference computes, what may be fused with it, how far its kernels may be from the reference, and
//! on what shapes all of that is tried.
//!
//! An operator writes only where it is told and looks nothing up by its own node, so that a node can
//! be recorded forward alone, or twice, and any of its gradients can be left out.

mod activation;
mod adaptive_pool2d;
mod broadcast;
mod case;
mod concat;
mod conv2d;
mod conv_transpose2d;
mod dropout;
mod linear;
mod local_response_norm;
mod norm;
mod pad2d;
mod pieces;
mod pixel_shuffle;
mod places;
mod pointwise_linear;
mod pool2d;
mod prelu;
mod rounding;
mod scale;
mod select;
mod softmax;
mod upsample2d;
mod view;

pub use case::Case;
pub(super) use norm::{fold, normalisations};
pub(super) use pieces::{Piece, Pieces};
pub(super) use places::{
    Applies, Backward, Forward, Gradients, Keeps, Kept, Masks, Mode, Saved, Site,
};
pub(super) use rounding::{Exact, FORMULA, Rounding, Sum, chain};

use crate::Result;
use crate::cpu::Real;
use crate::gpu::record::Recording;
use crate::op::{self, Op};

/// What the engine does with an operator. Nothing has a default, so that a new operator answers
/// every question. `T` is what the reference computes in; the kernels do not depend on it.
///
/// What is asked of `Self: Sized` is asked by the functions of this module that have the same names: `dyn Operator`
/// leads to the kernels alone, so that a program which asks for no reference, such as a page, has none in it.
pub(super) trait Operator<T: Real = f32> {
    /// Records the kernels of the forward pass.
    fn record_forward(
        &self,
        site: &Site,
        recording: &mut Recording,
        places: &Forward,
    ) -> Result<()>;

    /// Records the kernels of the gradients that have a place. Each place may be absent, whatever
    /// the others are.
    fn record_backward(
        &self,
        site: &Site,
        recording: &mut Recording,
        places: &Backward,
    ) -> Result<()>;

    /// What the kernels of the forward pass keep for the gradients beside the value.
    fn keeps(&self, site: &Site) -> Result<Option<Keeps>>;

    /// Computes the output `y` from the inputs `x` and the parameters, statistics included.
    fn forward(
        &self,
        site: &Site,
        x: &[&[T]],
        parameters: &[&[T]],
        y: &mut [T],
        kept: &mut Kept<T>,
    ) -> Result<()>
    where
        Self: Sized;

    /// Computes the gradients that have a place from that of the output, `gy`.
    fn backward(
        &self,
        site: &Site,
        saved: &Saved<T>,
        gy: &[T],
        gradients: &mut Gradients<T>,
    ) -> Result<()>
    where
        Self: Sized;

    /// What its kernels can do of an activation that alone reads what they write.
    fn applies(&self) -> Applies;

    /// Whether the gradient of the input at a position is that of the output, unchanged.
    fn hands_gradient_on(&self, site: &Site, input: usize) -> bool;

    /// What the kernels' results may be off by.
    fn rounding(&self, site: &Site) -> Result<Rounding>
    where
        Self: Sized;

    /// Shapes and options on which every test tries it, awkward ones among them.
    fn cases() -> Vec<Case>
    where
        Self: Sized;
}

macro_rules! operator_of {
    ($($(#[$meta:meta])* $operator:ident,)*) => {
        /// What the engine does with an operator on a GPU.
        pub(super) fn kernels(op: &Op) -> &dyn Operator {
            match op {
                $(Op::$operator(operator) => operator,)*
            }
        }

        /// What [`Operator::forward`] of an operator computes.
        pub(super) fn forward<T: Real>(
            op: &Op,
            site: &Site,
            x: &[&[T]],
            parameters: &[&[T]],
            y: &mut [T],
            kept: &mut Kept<T>,
        ) -> Result<()> {
            match op {
                $(Op::$operator(operator) => operator.forward(site, x, parameters, y, kept),)*
            }
        }

        /// What [`Operator::backward`] of an operator computes.
        pub(super) fn backward<T: Real>(
            op: &Op,
            site: &Site,
            saved: &Saved<T>,
            gy: &[T],
            gradients: &mut Gradients<T>,
        ) -> Result<()> {
            match op {
                $(Op::$operator(operator) => operator.backward(site, saved, gy, gradients),)*
            }
        }

        /// What the kernels of an operator may be off by.
        pub(super) fn rounding(op: &Op, site: &Site) -> Result<Rounding> {
            match op {
                $(Op::$operator(operator) => Operator::<f32>::rounding(operator, site),)*
            }
        }

        /// The cases of each operator, with its name.
        pub(super) fn cases_by_operator() -> Vec<(&'static str, Vec<Case>)> {
            vec![$((stringify!($operator), <op::$operator as Operator>::cases()),)*]
        }
    };
}
op::operators!(operator_of);

/// The cases of every operator.
pub fn cases() -> Vec<Case> {
    let cases = cases_by_operator().into_iter();
    cases.flat_map(|(_, cases)| cases).collect()
}
