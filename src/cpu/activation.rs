//! Element-wise functions. The twin of the `activation` kernels.

use std::f64::consts::{FRAC_1_SQRT_2, FRAC_2_SQRT_PI};

use super::parallel::for_each;
use super::{Real, check_length};
use crate::Result;
use crate::op::Activation;

/// Elements that one task computes.
const CHUNK: usize = 1 << 13;

/// `y = f(x)`, element by element. NaN passes through.
///
/// # Errors
///
/// [`Error::Shape`](crate::Error::Shape) where the slices have different lengths,
/// [`Error::Argument`](crate::Error::Argument) where a number of the function's is outside its domain.
pub fn activation_forward<T: Real>(activation: Activation, x: &[T], y: &mut [T]) -> Result<()> {
    activation.check()?;
    check_length("activation output", [x.len()], y.len())?;
    run(activation, Pass::Forward { x, y });
    Ok(())
}

/// `gx = f'(x) * gy`, element by element, with `y = f(x)`. Where `x` is NaN, the gradients of the
/// functions made of pieces (ReLU and its kin, ELU and its kin, hard tanh) are those of the piece that
/// PyTorch takes it for, as `gy` for ReLU and `slope * gy` for leaky ReLU; that of the hard sigmoid is
/// zero, and those of the others NaN. Where a piece is constant the gradient is zero, whatever `gy` is
/// there, as that of ReLU where `x <= 0`.
///
/// # Errors
///
/// [`Error::Shape`](crate::Error::Shape) where the slices have different lengths,
/// [`Error::Argument`](crate::Error::Argument) where a number of the function's is outside its domain.
pub fn activation_backward<T: Real>(
    activation: Activation,
    x: &[T],
    y: &[T],
    gy: &[T],
    gx: &mut [T],
) -> Result<()> {
    activation.check()?;
    check_length("activation output", [x.len()], y.len())?;
    check_length("activation output gradient", [x.len()], gy.len())?;
    check_length("activation input gradient", [x.len()], gx.len())?;
    let saved = if activation.gradient_from_value() {
        y
    } else {
        x
    };
    run(activation, Pass::Backward { saved, gy, gx });
    Ok(())
}

/// Each activation has a function of its own, which gives its value and its gradient.
fn run<T: Real>(activation: Activation, pass: Pass<T>) {
    match activation {
        Activation::Relu => relu(pass),
        Activation::Sigmoid => logistic(pass),
        Activation::Tanh => tanh(pass),
        Activation::LeakyRelu { slope } => leaky_relu(T::nearest(slope), pass),
        Activation::Gelu => gelu(pass),
        Activation::GeluTanh => gelu_tanh(pass),
        Activation::Silu => silu(pass),
        Activation::Softplus => softplus(pass),
        Activation::Elu { alpha } => elu(T::nearest(alpha), pass),
        Activation::Relu6 => hard_tanh([T::zero(), T::nearest(6.0)], pass),
        Activation::HardTanh { min, max } => hard_tanh([min, max].map(T::nearest), pass),
        Activation::HardSigmoid => hard_sigmoid(pass),
        Activation::HardSwish => hard_swish(pass),
        Activation::Selu => selu(pass),
        Activation::Celu { alpha } => celu(T::nearest(alpha), pass),
        Activation::Mish => mish(pass),
        Activation::Softsign => softsign(pass),
    }
}

/// What is asked of an activation.
enum Pass<'a, T> {
    Forward {
        x: &'a [T],
        y: &'a mut [T],
    },
    Backward {
        /// The function's value for those with [`Activation::gradient_from_value`], and its argument
        /// for the others: what the kernels see too.
        saved: &'a [T],
        gy: &'a [T],
        gx: &'a mut [T],
    },
}

impl<T: Real> Pass<'_, T> {
    /// Runs the pass for the function with this value at `x`, and this gradient at what is saved and
    /// `gy`.
    fn of(self, value: impl Fn(T) -> T + Send + Sync, gradient: impl Fn(T, T) -> T + Send + Sync) {
        match self {
            Self::Forward { x, y } => {
                for_each(x.chunks(CHUNK).zip(y.chunks_mut(CHUNK)), |(x, y)| {
                    x.iter().zip(y).for_each(|(&x, y)| *y = value(x));
                });
            }
            Self::Backward { saved, gy, gx } => {
                let read = saved.chunks(CHUNK).zip(gy.chunks(CHUNK));
                for_each(read.zip(gx.chunks_mut(CHUNK)), |((saved, gy), gx)| {
                    let read = saved.iter().zip(gy);
                    read.zip(gx)
                        .for_each(|((&s, &gy), gx)| *gx = gradient(s, gy));
                });
            }
        }
    }
}

fn relu<T: Real>(pass: Pass<T>) {
    let zero = T::zero();
    pass.of(
        |x| if x < zero { zero } else { x },
        |y, gy| if y <= zero { zero } else { gy },
    );
}

fn logistic<T: Real>(pass: Pass<T>) {
    pass.of(sigmoid, |y, gy| gy * (T::one() - y) * y);
}

fn tanh<T: Real>(pass: Pass<T>) {
    pass.of(T::tanh, |y, gy| gy * (T::one() - y * y));
}

fn leaky_relu<T: Real>(slope: T, pass: Pass<T>) {
    let zero = T::zero();
    pass.of(
        |x| if x > zero { x } else { slope * x },
        |y, gy| if y > zero { gy } else { slope * gy },
    );
}

fn gelu<T: Real>(pass: Pass<T>) {
    pass.of(
        |x| x * normal_distribution(x),
        |x, gy| gy * (normal_distribution(x) + x * normal_density(x)),
    );
}

/// `2 sqrt(2 / pi) (x + 0.044715 x^3)` is the argument here: since `(1 + tanh(u)) / 2 = sigmoid(2 u)`,
/// GELU's approximation is `x` times the logistic function of that.
fn gelu_tanh<T: Real>(pass: Pass<T>) {
    let (one, cubic) = (T::one(), 0.044715);
    let factor = T::nearest(2.0 * FRAC_2_SQRT_PI * FRAC_1_SQRT_2);
    let argument = |x| factor * (x + T::nearest(cubic) * x * x * x);
    let derivative = |x| factor * (one + T::nearest(3.0 * cubic) * x * x);
    pass.of(
        |x| x * sigmoid(argument(x)),
        |x, gy| {
            let s = sigmoid(argument(x));
            gy * (s + x * (s * (one - s)) * derivative(x))
        },
    );
}

fn silu<T: Real>(pass: Pass<T>) {
    let one = T::one();
    pass.of(
        |x| x / (one + (-x).exp()),
        |x, gy| {
            let s = sigmoid(x);
            gy * (s * (one + x * (one - s)))
        },
    );
}

/// The identity above 20, as in PyTorch.
fn softplus<T: Real>(pass: Pass<T>) {
    let linear = T::nearest(20.0);
    pass.of(
        |x| if x > linear { x } else { x.exp().ln_1p() },
        |x, gy| if x > linear { gy } else { gy * sigmoid(x) },
    );
}

/// A NaN's gradient is that of the output, as in PyTorch.
fn elu<T: Real>(alpha: T, pass: Pass<T>) {
    let zero = T::zero();
    pass.of(
        |x| if x > zero { x } else { alpha * x.exp_m1() },
        |y, gy| if y <= zero { gy * (y + alpha) } else { gy },
    );
}

/// A NaN's gradient is that of the output.
fn hard_tanh<T: Real>([min, max]: [T; 2], pass: Pass<T>) {
    pass.of(
        |x| match x {
            x if x < min => min,
            x if x > max => max,
            x => x,
        },
        |y, gy| {
            if y <= min || y >= max { T::zero() } else { gy }
        },
    );
}

/// Below 3 the value stays below 1, so that the gradient follows from it: the sum rounds to 6 just there.
fn hard_sigmoid<T: Real>(pass: Pass<T>) {
    let (zero, one) = (T::zero(), T::one());
    let [three, six] = [3.0, 6.0].map(T::nearest);
    let below_one = one - T::epsilon() / T::nearest(2.0);
    pass.of(
        |x| match x {
            x if x <= -three => zero,
            x if x >= three => one,
            x if x.is_nan() => x,
            x => ((x + three) / six).min(below_one),
        },
        |y, gy| if y > zero && y < one { gy / six } else { zero },
    );
}

/// A product throughout, so that minus infinity gives NaN as in PyTorch.
fn hard_swish<T: Real>(pass: Pass<T>) {
    let zero = T::zero();
    let [half, three, six] = [0.5, 3.0, 6.0].map(T::nearest);
    pass.of(
        |x| x * ((x + three).max(zero).min(six) / six),
        |x, gy| match x {
            x if x <= -three => zero,
            x if x >= three => gy,
            x => gy * (x / three + half),
        },
    );
}

/// A NaN's gradient is that of what is positive.
fn selu<T: Real>(pass: Pass<T>) {
    let zero = T::zero();
    let scale = 1.050_700_987_355_480_5;
    let negative: T = T::nearest(scale * 1.673_263_242_354_377_2);
    let scale: T = T::nearest(scale);
    pass.of(
        |x| {
            if x > zero {
                scale * x
            } else {
                negative * x.exp_m1()
            }
        },
        |y, gy| {
            if y <= zero {
                gy * (y + negative)
            } else {
                scale * gy
            }
        },
    );
}

/// A NaN's gradient is that of the output.
fn celu<T: Real>(alpha: T, pass: Pass<T>) {
    let (zero, one) = (T::zero(), T::one());
    pass.of(
        |x| {
            if x > zero {
                x
            } else {
                alpha * (x / alpha).exp_m1()
            }
        },
        |y, gy| {
            if y <= zero {
                // Above zero, as exp(x / alpha) is where the value has rounded to -alpha.
                gy * (y / alpha + one).max(T::nearest(1e-30))
            } else {
                gy
            }
        },
    );
}

/// With `e = exp(-|x|)`, `tanh(log(1 + exp(x)))` is `n / d` of polynomials in `e`: nothing overflows or
/// cancels. Infinities meet a factor of zero, which makes NaN, as in PyTorch.
fn mish<T: Real>(pass: Pass<T>) {
    let (one, two) = (T::one(), T::one() + T::one());
    // n, d and p, where the derivative of n / d is 4 p (1 + e) / d^2.
    let parts = |x: T| {
        let e = (-x.abs()).exp();
        match x > T::zero() {
            true => (one + two * e, one + two * e + two * e * e, e * e),
            false => (e * (e + two), e * (e + two) + two, e),
        }
    };
    pass.of(
        |x| {
            let (n, d, _) = parts(x);
            x * (n / d)
        },
        |x, gy| {
            let (n, d, p) = parts(x);
            let e = (-x.abs()).exp();
            gy * (n / d + x * (two * two * p * (one + e) / (d * d)))
        },
    );
}

/// The gradient in two terms, as PyTorch's: of an infinite `gy` it is NaN. Infinities give NaN.
fn softsign<T: Real>(pass: Pass<T>) {
    let one = T::one();
    pass.of(
        |x| x / (one + x.abs()),
        |y, gy| {
            let rest = one - y.abs();
            gy * rest - gy * y.abs() * rest
        },
    );
}

/// `1 / (1 + exp(-x))`.
pub(super) fn sigmoid<T: Real>(x: T) -> T {
    T::one() / (T::one() + (-x).exp())
}

/// `Phi(x) = (1 + erf(x / sqrt(2))) / 2`, through the complementary error function, which does not
/// cancel for negative arguments.
fn normal_distribution<T: Real>(x: T) -> T {
    let x = x.wide();
    T::nearest(0.5 * libm::erfc(-x * FRAC_1_SQRT_2))
}

/// `exp(-x^2 / 2) / sqrt(2 pi)`.
fn normal_density<T: Real>(x: T) -> T {
    let factor = 0.5 * FRAC_2_SQRT_PI * FRAC_1_SQRT_2;
    T::nearest(factor) * (T::nearest(-0.5) * x * x).exp()
}

#[cfg(test)]
mod tests;
