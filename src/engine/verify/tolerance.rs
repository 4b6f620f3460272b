//! How far a kernel may be from the reference, derived from what it computes.
//!
//! A sum of K products in f32, in whatever order, is off by about `eps * sqrt(K) * sum|terms|`. So
//! every result gets a number of terms K and, element by element, the magnitude of what is added up
//! on the way to it, and may be off by
//!
//! `2 * eps * sqrt(K) * magnitude`, and where `exp`, `log` or `tanh` of the driver have a part in it
//! also by `2e-5 * max|result|`: some drivers are that inexact.
//!
//! For products, poolings and sums the magnitude is what the reference itself gives for absolute
//! values. On whole numbers these have no rounding at all, as long as the magnitude stays below
//! 2^24, and must be equal.

use super::compare::Expected;
use super::data::Fill;
use crate::engine::reference::{Gradients, SingleReference};
use crate::op::{Activation, Conv2dGeometry, GlobalPool, Op, Pool2dGeometry};
use crate::{Result, Shape};

/// Errors in units of `eps * sqrt(K) * magnitude` that pass.
const FACTOR: f64 = 2.0;
pub(super) const EPSILON: f64 = f32::EPSILON as f64;
/// What the driver's own functions may be off by, as a part of the largest result.
pub(super) const DRIVER: f64 = 2e-5;
/// What underflow may cost.
const ABSOLUTE: f64 = f32::MIN_POSITIVE as f64;
/// Whole numbers up to here are exact in f32.
pub(super) const WHOLE: f64 = 16_777_216.0;
/// Roundings of a formula around a sum: a division counts as three, a square root as four.
pub(super) const FORMULA: usize = 16;

/// Invocations that share a sum of a normalisation.
const LANES: usize = 64;

/// Where a result has no rounding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Exact {
    Never,
    /// On whole numbers.
    Integers,
    /// A result that is copied.
    Always,
}

/// What the tolerance of a result follows from.
#[derive(Debug)]
pub(super) struct Bound {
    terms: usize,
    /// By element.
    magnitude: Vec<f64>,
    exact: Exact,
    driver: bool,
    /// Values that can be other than zero.
    base: usize,
}

impl Bound {
    pub fn new(terms: usize, magnitude: Vec<f64>) -> Self {
        let base = magnitude.len();
        Self {
            terms,
            magnitude,
            exact: Exact::Never,
            driver: false,
            base,
        }
    }

    /// Of sums that are exact on whole numbers.
    fn sums(terms: usize, magnitude: Vec<f64>) -> Self {
        Self {
            exact: Exact::Integers,
            ..Self::new(terms, magnitude)
        }
    }

    /// Of values that are copied.
    pub fn copy(len: usize) -> Self {
        Self {
            exact: Exact::Always,
            ..Self::new(1, vec![0.0; len])
        }
    }

    /// Of the same magnitude everywhere.
    pub fn even(terms: usize, magnitude: f64, len: usize) -> Self {
        Self::new(terms, vec![magnitude; len])
    }

    /// With functions of the driver.
    pub fn driver(self) -> Self {
        Self {
            driver: true,
            ..self
        }
    }

    fn base(self, base: usize) -> Self {
        Self {
            base: base.min(self.magnitude.len()),
            ..self
        }
    }

    /// The result with its tolerances.
    pub fn expect(self, values: Vec<f64>, fill: Fill) -> Expected {
        let unit = FACTOR * EPSILON * (self.terms as f64).sqrt();
        let driver = if self.driver {
            DRIVER * largest(&values)
        } else {
            0.0
        };
        let tolerance = |&magnitude: &f64| match self.exact {
            Exact::Always => 0.0,
            Exact::Integers if fill == Fill::Integers && magnitude <= WHOLE => 0.0,
            _ => ABSOLUTE + unit * magnitude + driver,
        };
        let tolerances = self.magnitude.iter().map(tolerance).collect();
        Expected::new(values, tolerances, fill, self.base)
    }
}

/// The bound of an operator's output, from its reference after the forward pass.
pub(super) fn output(reference: &SingleReference, shape: &Shape, batch: usize) -> Result<Bound> {
    let (node, y) = (reference.node(), reference.output());
    let magnitudes = || -> Result<Vec<f64>> { Ok(reference.absolute().forward()?.to_vec()) };
    Ok(match &node.op {
        Op::Conv2d(op) => {
            let terms = Products::of_conv2d(&op.geometry(batch, shape)?).output;
            Bound::sums(terms, magnitudes()?)
        }
        Op::ConvTranspose2d(op) => {
            let terms = Products::of_conv_transpose2d(&op.geometry(batch, shape)?).output;
            Bound::sums(terms, magnitudes()?)
        }
        Op::Linear(op) => Bound::sums(op.geometry(batch, shape)?.in_features + 1, magnitudes()?),
        Op::Add => Bound::sums(2, magnitudes()?),
        Op::AvgPool2d(op) => Bound::new(
            op.geometry(batch, shape)?.kernel.area() + FORMULA,
            magnitudes()?,
        ),
        Op::GlobalPool(GlobalPool::Average) => {
            let geometry = GlobalPool::Average.geometry(batch, shape)?;
            Bound::new(geometry.kernel.area() + FORMULA, magnitudes()?)
        }
        Op::GlobalPool(GlobalPool::Softmax) => {
            let plane = GlobalPool::Softmax.geometry(batch, shape)?.in_size.area();
            Bound::even(plane + FORMULA, largest(reference.input(0)), y.len()).driver()
        }
        Op::Softmax(op) => {
            Bound::new(op.geometry(batch, shape)?.extent + FORMULA, absolutes(y)).driver()
        }
        Op::BatchNorm(_) | Op::LayerNorm(_) => {
            Normalisation::of(reference, shape, batch)?.output(reference)
        }
        Op::Activation(Activation::LeakyRelu { .. }) => Bound::new(1, absolutes(y)),
        Op::Activation(activation) if *activation != Activation::Relu => {
            Bound::new(FORMULA, absolutes(y)).driver()
        }
        Op::Dropout(probability) => {
            let base = (y.len() as f64 * (1.0 - probability)) as usize;
            Bound::new(1, absolutes(y)).base(base)
        }
        Op::Activation(_)
        | Op::MaxPool2d(_)
        | Op::GlobalPool(GlobalPool::Max)
        | Op::Concat
        | Op::Flatten
        | Op::Reshape(_) => Bound::copy(y.len()),
    })
}

/// The bounds of the running statistics of a batch normalisation.
pub(super) fn running(
    reference: &SingleReference,
    shape: &Shape,
    batch: usize,
    values: [&[f64]; 2],
) -> Result<[Bound; 2]> {
    let terms = Normalisation::of(reference, shape, batch)?.terms;
    let x = largest(reference.input(0));
    let [mean, variance] = values;
    Ok([
        Bound::new(terms, mean.iter().map(|mean| mean.abs() + x).collect()),
        Bound::new(
            terms,
            variance
                .iter()
                .map(|variance| variance.abs() + x * x)
                .collect(),
        ),
    ])
}

/// The bounds of an operator's gradients.
pub(super) struct GradientBounds {
    /// By parameter that is learned.
    pub parameters: Vec<Bound>,
    /// By input; of no use where it was not asked for.
    pub inputs: Vec<Bound>,
}

/// The bounds of the `gradients` that an operator's reference gave for `gy`.
pub(super) fn gradients(
    reference: &SingleReference,
    (shape, batch): (&Shape, usize),
    gy: &[f64],
    wanted: &[bool],
    gradients: &Gradients,
) -> Result<GradientBounds> {
    let (node, y, magnitude) = (reference.node(), reference.output(), absolutes(gy));
    let products = |products: Products| {
        let absolute = reference.absolute().backward(&magnitude, wanted)?;
        let terms = [products.weight, products.bias];
        let parameters = absolute.parameters.into_iter().zip(terms);
        let inputs = absolute.inputs.into_iter();
        Ok(GradientBounds {
            parameters: parameters
                .map(|(sums, terms)| Bound::sums(terms, sums))
                .collect(),
            inputs: inputs
                .map(|sums| Bound::sums(products.input, sums).base(gy.len()))
                .collect(),
        })
    };
    // An operator with one input and nothing to learn.
    let only = |bound: Bound| {
        Ok(GradientBounds {
            parameters: vec![],
            inputs: vec![bound],
        })
    };
    let gx = || gradients.inputs.first().map_or(&[][..], Vec::as_slice);
    let pooled = |geometry: Pool2dGeometry| -> Result<Bound> {
        let sums = reference
            .backward(&magnitude, wanted)?
            .inputs
            .swap_remove(0);
        Ok(Bound::sums(geometry.kernel.area(), sums).base(gy.len()))
    };
    let averaged = |geometry: Pool2dGeometry| -> Result<Bound> {
        let bound = pooled(geometry)?;
        Ok(Bound {
            terms: bound.terms + FORMULA,
            exact: Exact::Never,
            ..bound
        })
    };
    match &node.op {
        Op::Conv2d(op) => products(Products::of_conv2d(&op.geometry(batch, shape)?)),
        Op::ConvTranspose2d(op) => {
            products(Products::of_conv_transpose2d(&op.geometry(batch, shape)?))
        }
        Op::Linear(op) => {
            let geometry = op.geometry(batch, shape)?;
            let (weight, bias) = (geometry.rows, geometry.rows);
            products(Products {
                output: 0,
                weight,
                bias,
                input: geometry.out_features,
            })
        }
        Op::BatchNorm(_) | Op::LayerNorm(_) => {
            Normalisation::of(reference, shape, batch)?.gradients(reference, &magnitude)
        }
        Op::MaxPool2d(op) => only(pooled(op.geometry(batch, shape)?)?),
        Op::AvgPool2d(op) => only(averaged(op.geometry(batch, shape)?)?),
        Op::GlobalPool(pool) => {
            let geometry = pool.geometry(batch, shape)?;
            only(match pool {
                GlobalPool::Max => pooled(geometry)?,
                GlobalPool::Average => averaged(geometry)?,
                GlobalPool::Softmax => {
                    let terms = geometry.in_size.area() + FORMULA;
                    Bound::even(terms, largest(gx()), gx().len()).driver()
                }
            })
        }
        Op::Activation(Activation::Relu) => only(Bound::copy(gx().len())),
        Op::Activation(Activation::LeakyRelu { .. }) => only(Bound::new(1, absolutes(gx()))),
        Op::Activation(activation) if activation.gradient_from_value() => {
            let terms = y.iter().zip(&magnitude).map(|(y, gy)| (1.0 + y * y) * gy);
            only(Bound::new(FORMULA, terms.collect()))
        }
        Op::Activation(_) => only(Bound::new(FORMULA, absolutes(gx())).driver()),
        Op::Softmax(op) => {
            // y * (gy - sum(gy * y)), or gy - exp(y) * sum(gy)
            let (extent, most) = (op.geometry(batch, shape)?.extent, largest(gy));
            let terms = y.iter().map(|y| match op.log {
                false => 2.0 * y.abs() * most,
                true => (1.0 + extent as f64 * y.exp()) * most,
            });
            let bound = Bound::new(extent + FORMULA, terms.collect());
            only(if op.log { bound.driver() } else { bound })
        }
        Op::Dropout(probability) => {
            let base = (gx().len() as f64 * (1.0 - probability)) as usize;
            only(Bound::new(1, absolutes(gx())).base(base))
        }
        Op::Add | Op::Concat | Op::Flatten | Op::Reshape(_) => {
            let inputs = gradients
                .inputs
                .iter()
                .map(|gx| Bound::copy(gx.len()))
                .collect();
            Ok(GradientBounds {
                parameters: vec![],
                inputs,
            })
        }
    }
}

/// The lengths of the sums of a layer that is a product.
struct Products {
    output: usize,
    weight: usize,
    bias: usize,
    input: usize,
}

impl Products {
    fn of_conv2d(geometry: &Conv2dGeometry) -> Self {
        let [out_channels, in_channels, height, width] = geometry.weight_shape();
        let pixels = geometry.batch * geometry.out_size.area();
        Self {
            output: in_channels * height * width + 1,
            weight: pixels,
            bias: pixels,
            input: out_channels / geometry.groups * height * width,
        }
    }

    /// From the geometry of the convolution whose input gradient it is.
    fn of_conv_transpose2d(geometry: &Conv2dGeometry) -> Self {
        let Self {
            output,
            weight,
            input,
            ..
        } = Self::of_conv2d(geometry);
        let bias = geometry.batch * geometry.in_size.area();
        Self {
            output: input + 1,
            weight,
            bias,
            input: output,
        }
    }
}

/// The groups of values that a normalisation normalises, and what its errors follow from. A value
/// normalised is `(x - mean) / deviation`, of terms no larger than `2 * max|x| / deviation`.
struct Normalisation {
    /// Whether a group has one gamma and beta, not one for each value.
    by_channel: bool,
    /// Additions on the way to a statistic, and to a parameter's gradient.
    terms: usize,
    rows: usize,
    /// The inverse deviation of each group.
    inverse: Vec<f64>,
    /// `2 * max|x|`.
    spread: f64,
    /// Values that lie side by side in a group.
    run: usize,
}

impl Normalisation {
    fn of(reference: &SingleReference, shape: &Shape, batch: usize) -> Result<Self> {
        let x = reference.input(0);
        let inverse = |variance: f64, epsilon: f64| 1.0 / (variance + epsilon).sqrt();
        if let Op::BatchNorm(norm) = &reference.node().op {
            let geometry = norm.geometry(batch, shape)?;
            let evaluation = reference.is_evaluation();
            let variance = if evaluation {
                reference.parameter(3)
            } else {
                reference.moments()[1]
            };
            let mean = if evaluation {
                largest(reference.parameter(2))
            } else {
                0.0
            };
            return Ok(Self {
                by_channel: true,
                terms: if evaluation {
                    FORMULA
                } else {
                    chain(geometry.count())
                },
                rows: chain(geometry.count()),
                inverse: variance.iter().map(|&v| inverse(v, norm.epsilon)).collect(),
                spread: 2.0 * largest(x).max(mean),
                run: geometry.plane,
            });
        }
        let epsilon = match &reference.node().op {
            Op::LayerNorm(norm) => norm.epsilon,
            _ => 0.0,
        };
        let (len, count) = (shape.len(), shape.len() as f64);
        let rows = x.chunks(len).map(|row| {
            let mean = row.iter().sum::<f64>() / count;
            let variance = row.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / count;
            inverse(variance, epsilon)
        });
        Ok(Self {
            by_channel: false,
            terms: chain(len),
            rows: batch + FORMULA,
            inverse: rows.collect(),
            spread: 2.0 * largest(x),
            run: len,
        })
    }

    /// The inverse deviation that an element is multiplied by.
    fn inverse(&self, at: usize) -> f64 {
        self.inverse[at / self.run % self.inverse.len()]
    }

    /// The parameter that belongs to an element.
    fn parameter(&self, parameters: &[f64], at: usize) -> f64 {
        let at = if self.by_channel { at / self.run } else { at };
        parameters[at % parameters.len()].abs()
    }

    fn output(&self, reference: &SingleReference) -> Bound {
        let (gamma, beta) = (reference.parameter(0), reference.parameter(1));
        let magnitude = (0..reference.output().len()).map(|at| {
            let normal = self.spread * self.inverse(at);
            self.parameter(gamma, at) * normal + self.parameter(beta, at)
        });
        Bound::new(self.terms, magnitude.collect())
    }

    /// From the magnitudes of the output's gradient.
    fn gradients(&self, reference: &SingleReference, gy: &[f64]) -> Result<GradientBounds> {
        let gamma = reference.parameter(0);
        // The gradient of beta is the plain sum, that of gamma one of products.
        let sums = reference.backward(gy, &[false])?.parameters.swap_remove(1);
        let steepest = largest(&self.inverse);
        let gammas = sums.iter().enumerate().map(|(at, sum)| {
            sum * self.spread
                * if self.by_channel {
                    self.inverse[at]
                } else {
                    steepest
                }
        });
        let gammas = Bound::new(self.terms + self.rows, gammas.collect());
        // For a batch gamma / d * (gy - mean(gy) - x^ * mean(gy * x^)); for a layer gamma goes with
        // gy into the means.
        let (most_gamma, most_gy) = (largest(gamma), largest(gy));
        let input = (0..gy.len()).map(|at| {
            let (inverse, normal) = (self.inverse(at), self.spread * self.inverse(at));
            let gamma = if self.by_channel {
                self.parameter(gamma, at)
            } else {
                most_gamma
            };
            gamma * inverse * (2.0 + normal * normal) * most_gy
        });
        let inputs = vec![Bound::new(self.terms, input.collect())];
        Ok(GradientBounds {
            parameters: vec![gammas, Bound::sums(self.rows, sums)],
            inputs,
        })
    }
}

/// The longest chain of additions in a sum over so many values, with the formula around it.
fn chain(values: usize) -> usize {
    values.div_ceil(LANES) + FORMULA
}

pub(super) fn largest(values: &[f64]) -> f64 {
    values
        .iter()
        .fold(0.0, |largest, value| value.abs().max(largest))
}

fn absolutes(values: &[f64]) -> Vec<f64> {
    values.iter().map(|value| value.abs()).collect()
}
