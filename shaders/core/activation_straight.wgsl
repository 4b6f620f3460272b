
// The functions made of straight lines, whose gradient follows from their value.

const RELU: u32 = 1u;
const LEAKY_RELU: u32 = 4u;
const RELU6: u32 = 10u;
const HARD_TANH: u32 = 11u;
const HARD_SIGMOID: u32 = 12u;

// Whole numbers in the order of the numbers: compared as such, what is nearly zero stays apart from it.
fn order(x: f32) -> i32 {
    let magnitude = bitcast<i32>(x) & 0x7fffffff;
    return select(magnitude, -magnitude, bitcast<i32>(x) < 0);
}

fn clamped(low: f32, high: f32, x: f32) -> f32 {
    let bounded = select(select(x, low, order(x) < order(low)), high, order(x) > order(high));
    return select(bounded, x, is_nan(x));
}

// Not so for NaN.
fn between(low: f32, high: f32, x: f32) -> bool {
    return order(x) > order(low) && order(x) < order(high);
}

// Below 3 the value stays below 1, so that the gradient follows from it: the sum rounds to 6 just there.
fn hard_sigmoid(x: f32) -> f32 {
    let y = clamp((x + 3.0) * (1.0 / 6.0), 0.0, 0.99999994);
    return select(select(y, 1.0, x >= 3.0), x, is_nan(x));
}

fn straight_value(kind: u32, a: f32, b: f32, x: f32) -> f32 {
    switch kind {
        case RELU: { return select(x, 0.0, not_positive(x)); }
        case LEAKY_RELU: { return select(x, a * x, not_positive(x)); }
        case RELU6: { return clamped(0.0, 6.0, x); }
        case HARD_TANH: { return clamped(a, b, x); }
        case HARD_SIGMOID: { return hard_sigmoid(x); }
        default: { return x; }
    }
}

// The gradient with respect to x from the gradient with respect to the value.
fn straight_gradient(kind: u32, a: f32, b: f32, value: f32, gradient: f32) -> f32 {
    switch kind {
        case RELU: { return select(gradient, 0.0, not_positive(value)); }
        case LEAKY_RELU: { return select(gradient, a * gradient, not_positive(value) || is_nan(value)); }
        case RELU6: { return select(0.0, gradient, between(0.0, 6.0, value) || is_nan(value)); }
        case HARD_TANH: { return select(0.0, gradient, between(a, b, value) || is_nan(value)); }
        case HARD_SIGMOID: { return select(0.0, gradient * (1.0 / 6.0), between(0.0, 1.0, value)); }
        default: { return gradient; }
    }
}
