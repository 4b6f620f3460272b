//! The sum and the product of two values.

use super::{
    Applies, Backward, Case, Forward, Gradients, Keeps, Kept, Operator, Rounding, Saved, Site, Sum,
    chain,
};
use crate::cpu::{self, Real};
use crate::gpu::kernels::broadcast::{self, Operation};
use crate::gpu::record::Recording;
use crate::op::{Add, BroadcastGeometry, Mul, Op, Spread};
use crate::{Result, Shape};

impl<T: Real> Operator<T> for Add {
    fn record_forward(
        &self,
        site: &Site,
        recording: &mut Recording,
        places: &Forward,
    ) -> Result<()> {
        let geometry = self.geometry(site.batch, site.inputs[0], site.inputs[1])?;
        record_forward(recording, Operation::Sum, geometry, places);
        Ok(())
    }

    fn record_backward(
        &self,
        site: &Site,
        recording: &mut Recording,
        places: &Backward,
    ) -> Result<()> {
        let geometry = self.geometry(site.batch, site.inputs[0], site.inputs[1])?;
        for (geometry, to) in sides(geometry).into_iter().zip(&places.to_inputs) {
            if let Some(to) = *to {
                broadcast::gradient(recording, &geometry, places.gradient, None, to);
            }
        }
        Ok(())
    }

    fn keeps(&self, _: &Site) -> Result<Option<Keeps>> {
        Ok(None)
    }

    fn forward(
        &self,
        site: &Site,
        x: &[&[T]],
        _: &[&[T]],
        y: &mut [T],
        _: &mut Kept<T>,
    ) -> Result<()> {
        let geometry = self.geometry(site.batch, site.inputs[0], site.inputs[1])?;
        cpu::add_forward(&geometry, x[0], x[1], y)
    }

    fn backward(
        &self,
        site: &Site,
        _: &Saved<T>,
        gy: &[T],
        gradients: &mut Gradients<T>,
    ) -> Result<()> {
        let geometry = self.geometry(site.batch, site.inputs[0], site.inputs[1])?;
        for (position, side) in [geometry.left, geometry.right].into_iter().enumerate() {
            if let Some(gx) = gradients.input(position) {
                cpu::add_backward(&geometry, side, gy, gx)?;
            }
        }
        Ok(())
    }

    fn applies(&self) -> Applies {
        Applies::Values
    }

    fn hands_gradient_on(&self, site: &Site, input: usize) -> bool {
        site.inputs[input] == site.output
    }

    fn rounding(&self, site: &Site) -> Result<Rounding> {
        let geometry = self.geometry(site.batch, site.inputs[0], site.inputs[1])?;
        let side = |side: Spread| match side {
            Spread::Whole => Sum::copy(),
            Spread::Channels | Spread::Positions | Spread::Examples => {
                Sum::products(longest(&geometry, side))
            }
        };
        Ok(Rounding {
            inputs: vec![side(geometry.left), side(geometry.right)],
            ..Rounding::of(Sum::products(2), Sum::copy())
        })
    }

    fn cases() -> Vec<Case> {
        cases(Add)
    }
}

impl<T: Real> Operator<T> for Mul {
    fn record_forward(
        &self,
        site: &Site,
        recording: &mut Recording,
        places: &Forward,
    ) -> Result<()> {
        let geometry = self.geometry(site.batch, site.inputs[0], site.inputs[1])?;
        record_forward(recording, Operation::Product, geometry, places);
        Ok(())
    }

    fn record_backward(
        &self,
        site: &Site,
        recording: &mut Recording,
        places: &Backward,
    ) -> Result<()> {
        let geometry = self.geometry(site.batch, site.inputs[0], site.inputs[1])?;
        let others = [places.inputs[1], places.inputs[0]].into_iter();
        let sides = sides(geometry).into_iter().zip(others);
        for ((geometry, other), to) in sides.zip(&places.to_inputs) {
            if let Some(to) = *to {
                broadcast::gradient(recording, &geometry, places.gradient, Some(other), to);
            }
        }
        Ok(())
    }

    fn keeps(&self, _: &Site) -> Result<Option<Keeps>> {
        Ok(None)
    }

    fn forward(
        &self,
        site: &Site,
        x: &[&[T]],
        _: &[&[T]],
        y: &mut [T],
        _: &mut Kept<T>,
    ) -> Result<()> {
        let geometry = self.geometry(site.batch, site.inputs[0], site.inputs[1])?;
        cpu::mul_forward(&geometry, x[0], x[1], y)
    }

    fn backward(
        &self,
        site: &Site,
        saved: &Saved<T>,
        gy: &[T],
        gradients: &mut Gradients<T>,
    ) -> Result<()> {
        let geometry = self.geometry(site.batch, site.inputs[0], site.inputs[1])?;
        for (position, geometry) in sides(geometry).iter().enumerate() {
            if let Some(gx) = gradients.input(position) {
                cpu::mul_backward(geometry, saved.x[1 - position], gy, gx)?;
            }
        }
        Ok(())
    }

    fn applies(&self) -> Applies {
        Applies::Values
    }

    fn hands_gradient_on(&self, _: &Site, _: usize) -> bool {
        false
    }

    fn rounding(&self, site: &Site) -> Result<Rounding> {
        let geometry = self.geometry(site.batch, site.inputs[0], site.inputs[1])?;
        let [left, right] = [geometry.left, geometry.right].map(|side| longest(&geometry, side));
        Ok(Rounding {
            inputs: vec![Sum::products(left), Sum::products(right)],
            ..Rounding::of(Sum::products(1), Sum::products(1))
        })
    }

    fn cases() -> Vec<Case> {
        cases(Mul)
    }
}

/// The geometry, and the one with the sides in the other order: of each side, the one in which it is the
/// left.
fn sides(geometry: BroadcastGeometry) -> [BroadcastGeometry; 2] {
    [geometry, geometry.swapped()]
}

fn record_forward(
    recording: &mut Recording,
    operation: Operation,
    geometry: BroadcastGeometry,
    places: &Forward,
) {
    let read = [places.inputs[0], places.inputs[1]];
    broadcast::join(recording, operation, &geometry, read, places.output);
}

/// The additions on the way to the gradient of a side, with the product before them.
fn longest(geometry: &BroadcastGeometry, side: Spread) -> usize {
    let values = match side {
        Spread::Whole => 1,
        Spread::Channels => geometry.plane,
        Spread::Positions => geometry.channels,
        Spread::Examples => geometry.channels * geometry.plane,
    };
    values.min(chain(values)) + 1
}

fn cases(operator: impl Into<Op>) -> Vec<Case> {
    let operator = operator.into();
    let case = |name, left: &[usize], right: &[usize]| {
        let shapes = [left, right].map(Shape::from);
        Case::joining(name, operator.clone(), shapes)
    };
    vec![
        case("whole vectors", &[4, 4, 4], &[4, 4, 4]),
        case("odd sizes", &[3, 5, 1], &[3, 5, 1]),
        case("rows", &[7], &[7]),
        case("a number for each channel", &[5, 4, 4], &[5, 1, 1]),
        case("the same of odd sizes", &[3, 1, 1], &[3, 5, 3]),
        case("the same of large planes", &[2, 11, 12], &[2, 1, 1]).batch(2),
        case("the same of large odd planes", &[3, 9, 13], &[3, 1, 1]).batch(2),
        case("the same of a signal", &[2, 9], &[2, 1]),
        case("a number for each position", &[1, 4, 6], &[3, 4, 6]),
        case(
            "the same of odd sizes, on the right",
            &[3, 5, 3],
            &[1, 5, 3],
        ),
        case("the same of many channels", &[300, 3], &[1, 3]).batch(2),
        case("one number", &[3, 2, 5], &[1, 1, 1]),
        case("one number of a row", &[1], &[9]),
        case(
            "a number for each channel and for each position",
            &[3, 1, 1],
            &[1, 4, 3],
        ),
        case("the same of a signal, whole vectors", &[1, 12], &[3, 1]),
        case(
            "the same of large planes and channels",
            &[70, 1, 1],
            &[1, 9, 8],
        )
        .batch(1),
        case("sums of planes in parts", &[1, 131, 129], &[1, 1, 1]).batch(1),
    ]
}
