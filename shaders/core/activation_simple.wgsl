
// The functions whose gradient follows from their value. The number is an override constant wherever these
// are called, so the driver keeps one branch.

const RELU: u32 = 1u;
const SIGMOID: u32 = 2u;
const TANH: u32 = 3u;
const LEAKY_RELU: u32 = 4u;
const ELU: u32 = 9u;

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

fn simple_value(kind: u32, a: f32, b: f32, x: f32) -> f32 {
    switch kind {
        case RELU: { return select(x, 0.0, not_positive(x)); }
        case SIGMOID: { return sigmoid(x); }
        case TANH: { return hyperbolic_tangent(x); }
        case LEAKY_RELU: { return select(x, a * x, not_positive(x)); }
        case ELU: { return select(x, a * exponential_minus_one(x), not_positive(x)); }
        default: { return x; }
    }
}

// The gradient with respect to x from the gradient with respect to the value.
fn simple_gradient(kind: u32, a: f32, b: f32, value: f32, gradient: f32) -> f32 {
    switch kind {
        case RELU: { return select(gradient, 0.0, not_positive(value)); }
        case SIGMOID: { return gradient * value * (1.0 - value); }
        case TANH: { return gradient * (1.0 - value * value); }
        case LEAKY_RELU: { return select(gradient, a * gradient, not_positive(value) || is_nan(value)); }
        case ELU: { return select(gradient, gradient * (value + a), not_positive(value)); }
        default: { return gradient; }
    }
}
