
// Element-wise functions by number, as in `Activation::code`; 0 is the identity. The number is an
// override constant wherever these are called, so the driver keeps one branch.
// NaN is told by its bits, since compilers may assume that no comparison meets one.

const RELU: u32 = 1u;
const SIGMOID: u32 = 2u;
const TANH: u32 = 3u;
const LEAKY_RELU: u32 = 4u;
const GELU: u32 = 5u;
const GELU_TANH: u32 = 6u;
const SILU: u32 = 7u;
const SOFTPLUS: u32 = 8u;

const SQRT_HALF: f32 = 0.70710678118654752;
const SQRT_2_OVER_PI: f32 = 0.79788456080286536;
const ONE_OVER_SQRT_2_PI: f32 = 0.39894228040143268;

fn is_nan(x: f32) -> bool {
    return (bitcast<u32>(x) & 0x7fffffffu) > 0x7f800000u;
}

fn not_positive(x: f32) -> bool {
    return x <= 0.0 && !is_nan(x);
}

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

// The error function as a rational approximation on -4..4, where it reaches 1 to the last bit.
fn error_function(argument: f32) -> f32 {
    let x = select(argument, clamp(argument, -4.0, 4.0), !is_nan(argument));
    let s = x * x;
    let p = -1.60960333262415e-2 + s * (-2.95459980854025e-3 + s * (-7.34990630326855e-4
        + s * (-5.69250639462346e-5 + s * (-2.10102402082508e-6 + s * (2.77068142495902e-8
        + s * -2.72614225801306e-10)))));
    let q = -1.42647390514189e-2 + s * (-7.37332916720468e-3 + s * (-1.68282697438203e-3
        + s * (-2.13374055278905e-4 + s * -1.45660718464996e-5)));
    return x * p / q;
}

fn gelu_tanh_argument(x: f32) -> f32 {
    return SQRT_2_OVER_PI * (x + 0.044715 * x * x * x);
}

fn activate(kind: u32, slope: f32, x: f32) -> f32 {
    switch kind {
        case RELU: { return select(x, 0.0, not_positive(x)); }
        case SIGMOID: { return sigmoid(x); }
        case TANH: { return hyperbolic_tangent(x); }
        case LEAKY_RELU: { return select(x, slope * x, not_positive(x)); }
        case GELU: { return 0.5 * x * (1.0 + error_function(x * SQRT_HALF)); }
        // (1 + tanh(u)) / 2 is sigmoid(2 u)
        case GELU_TANH: { return x * sigmoid(2.0 * gelu_tanh_argument(x)); }
        case SILU: { return x * sigmoid(x); }
        case SOFTPLUS: { return select(max(x, 0.0) + log(1.0 + exp(-abs(x))), x, x > 20.0 || is_nan(x)); }
        default: { return x; }
    }
}

// The gradient with respect to x from the gradient with respect to activate(kind, slope, x).
// `saved` is the function's value for those whose gradient follows from it (ReLU, sigmoid, tanh,
// leaky ReLU), and x for the others.
fn activation_gradient(kind: u32, slope: f32, saved: f32, gradient: f32) -> f32 {
    switch kind {
        case RELU: { return select(gradient, 0.0, not_positive(saved)); }
        case SIGMOID: { return gradient * saved * (1.0 - saved); }
        case TANH: { return gradient * (1.0 - saved * saved); }
        case LEAKY_RELU: { return select(slope * gradient, gradient, saved > 0.0 && !is_nan(saved)); }
        case GELU: {
            let density = ONE_OVER_SQRT_2_PI * exp(-0.5 * saved * saved);
            return gradient * (0.5 * (1.0 + error_function(saved * SQRT_HALF)) + saved * density);
        }
        case GELU_TANH: {
            let s = sigmoid(2.0 * gelu_tanh_argument(saved));
            let inner = SQRT_2_OVER_PI * (1.0 + 3.0 * 0.044715 * saved * saved);
            return gradient * (s + 2.0 * saved * s * (1.0 - s) * inner);
        }
        case SILU: {
            let s = sigmoid(saved);
            return gradient * s * (1.0 + saved * (1.0 - s));
        }
        case SOFTPLUS: { return gradient * select(sigmoid(saved), 1.0, saved > 20.0); }
        default: { return gradient; }
    }
}

fn activate4(kind: u32, slope: f32, x: vec4<f32>) -> vec4<f32> {
    return vec4(
        activate(kind, slope, x.x),
        activate(kind, slope, x.y),
        activate(kind, slope, x.z),
        activate(kind, slope, x.w),
    );
}

fn activation_gradient4(kind: u32, slope: f32, saved: vec4<f32>, gradient: vec4<f32>) -> vec4<f32> {
    return vec4(
        activation_gradient(kind, slope, saved.x, gradient.x),
        activation_gradient(kind, slope, saved.y, gradient.y),
        activation_gradient(kind, slope, saved.z, gradient.z),
        activation_gradient(kind, slope, saved.w, gradient.w),
    );
}
