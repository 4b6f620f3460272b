
// The functions whose gradient follows from their value, those of activation_straight.wgsl among them. The
// number is an override constant wherever these are called, so the driver keeps one branch.

const SIGMOID: u32 = 2u;
const TANH: u32 = 3u;
const ELU: u32 = 9u;
const SELU: u32 = 14u;
const CELU: u32 = 15u;
const SOFTSIGN: u32 = 17u;
// SELU's scale, and its product with alpha.
const SELU_SCALE: f32 = 1.0507009873554805;
const SELU_NEGATIVE: f32 = 1.7580993408473766;

fn sigmoid(x: f32) -> f32 {
    let e = exp(-abs(x)); // at most 1, so that nothing overflows
    return select(x, select(e, 1.0, x >= 0.0) / (1.0 + e), !is_nan(x));
}

// More exact than the tanh of some drivers: a series near 0, the exponential beyond.
fn hyperbolic_tangent(x: f32) -> f32 {
    let square = x * x;
    let series = x * (1.0 + square * (-1.0 / 3.0 + square * (2.0 / 15.0 + square * (-17.0 / 315.0
        + square * (62.0 / 2835.0)))));
    let e = exp(-2.0 * abs(x));
    let far = (1.0 - e) / (1.0 + e);
    let result = select(select(-far, far, x >= 0.0), series, abs(x) < 0.25);
    return select(x, result, !is_nan(x));
}

// exp(x) - 1 for x <= 0, without cancellation near 0.
fn exponential_minus_one(x: f32) -> f32 {
    let t = hyperbolic_tangent(0.5 * x);
    return 2.0 * t / (1.0 - t);
}

// SELU of what is positive, which stays so where a device takes the product for zero.
fn scaled_up(x: f32) -> f32 {
    let y = SELU_SCALE * x;
    return select(y, x, bitcast<u32>(y) == 0u);
}

fn simple_value(kind: u32, a: f32, b: f32, x: f32) -> f32 {
    switch kind {
        case SIGMOID: { return sigmoid(x); }
        case TANH: { return hyperbolic_tangent(x); }
        case ELU: { return select(x, a * exponential_minus_one(x), not_positive(x)); }
        case SELU: { return select(scaled_up(x), SELU_NEGATIVE * exponential_minus_one(x), not_positive(x)); }
        case CELU: { return select(x, a * exponential_minus_one(x / a), not_positive(x)); }
        // A quarter of both: divisions by more than 2^126 may be off.
        case SOFTSIGN: { return 0.25 * x / (0.25 + 0.25 * abs(x)); }
        default: { return straight_value(kind, a, b, x); }
    }
}

// The gradient with respect to x from the gradient with respect to the value.
fn simple_gradient(kind: u32, a: f32, b: f32, value: f32, gradient: f32) -> f32 {
    switch kind {
        case SIGMOID: { return gradient * value * (1.0 - value); }
        case TANH: { return gradient * (1.0 - value * value); }
        case ELU: { return select(gradient, gradient * (value + a), not_positive(value)); }
        case SELU: {
            return select(SELU_SCALE * gradient, gradient * (value + SELU_NEGATIVE), not_positive(value));
        }
        // The slope is above zero also where the value has rounded to -a.
        case CELU: {
            let slope = max(value / a + 1.0, 1e-30);
            return select(gradient, gradient * slope, not_positive(value));
        }
        // Two terms, so that an infinite gradient gives NaN.
        case SOFTSIGN: {
            let rest = 1.0 - abs(value);
            return gradient * rest - gradient * abs(value) * rest;
        }
        default: { return straight_gradient(kind, a, b, value, gradient); }
    }
}
