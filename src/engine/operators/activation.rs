//! Element-wise functions.

use super::rounding::FORMULA;
use super::{
    Applies, Backward, Case, Forward, Gradients, Keeps, Kept, Operator, Rounding, Saved, Site, Sum,
};
use crate::Result;
use crate::cpu::{self, Real};
use crate::gpu::kernels::{Output, activation};
use crate::gpu::record::Recording;
use crate::op::{Activation, Arithmetic};

impl Activation {
    /// What a value and a gradient may be off by, whichever kernel computes them.
    pub(in crate::engine) fn own_rounding(self) -> Rounding {
        let formula = Sum::formula(FORMULA);
        match self.arithmetic() {
            Arithmetic::Copy => Rounding::of(Sum::copy(), Sum::copy()),
            Arithmetic::Product => Rounding::of(Sum::formula(1), Sum::formula(1)),
            Arithmetic::Formula => Rounding::of(formula, formula),
            Arithmetic::Functions if self.gradient_from_value() => {
                Rounding::of(formula.driver(), formula)
            }
            Arithmetic::Functions => Rounding::of(formula.driver(), formula.driver()),
        }
    }
}

impl Sum {
    /// Of what goes through the gradient of an activation first.
    pub(in crate::engine) fn after(self, activation: Activation) -> Self {
        let own = activation.own_rounding().input(0);
        Self {
            terms: self.terms + own.terms,
            driver: self.driver || own.driver,
            reach: self.reach,
            ..Self::formula(1)
        }
    }
}

impl<T: Real> Operator<T> for Activation {
    fn record_forward(
        &self,
        site: &Site,
        recording: &mut Recording,
        places: &Forward,
    ) -> Result<()> {
        let output = Output {
            activation: Some(*self),
            ..places.output
        };
        activation::forward(recording, site.len(), places.inputs[0], output);
        Ok(())
    }

    fn record_backward(
        &self,
        site: &Site,
        recording: &mut Recording,
        places: &Backward,
    ) -> Result<()> {
        if let Some(to) = places.to_inputs[0] {
            let source = match self.gradient_from_value() {
                true => places.output,
                false => places.inputs[0],
            };
            let read = [source, places.gradient];
            activation::backward(recording, *self, site.len(), read, to);
        }
        Ok(())
    }

    fn keeps(&self, _: &Site) -> Result<Option<Keeps>> {
        Ok(None)
    }

    fn forward(
        &self,
        _: &Site,
        x: &[&[T]],
        _: &[&[T]],
        y: &mut [T],
        _: &mut Kept<T>,
    ) -> Result<()> {
        cpu::activation_forward(*self, x[0], y)
    }

    fn backward(
        &self,
        _: &Site,
        saved: &Saved<T>,
        gy: &[T],
        gradients: &mut Gradients<T>,
    ) -> Result<()> {
        match gradients.input(0) {
            Some(gx) => cpu::activation_backward(*self, saved.x[0], saved.y, gy, gx),
            None => Ok(()),
        }
    }

    fn applies(&self) -> Applies {
        Applies::Nothing
    }

    fn hands_gradient_on(&self, _: &Site, _: usize) -> bool {
        false
    }

    fn rounding(&self, _: &Site) -> Result<Rounding> {
        Ok(self.own_rounding())
    }

    fn cases() -> Vec<Case> {
        let on = |functions: [Activation; Activation::ALL.len()], shape: [usize; 3]| {
            let functions = functions.into_iter();
            functions.map(move |function| Case::new(function.name(), function, shape))
        };
        let usual = on(Activation::ALL, [3, 4, 4]);
        usual.chain(on(Activation::VARIED, [1, 3, 5])).collect()
    }
}
