
// The functions whose gradient needs their argument, and through activation_simple.wgsl the others: all that
// there are.

const GELU: u32 = 5u;
const GELU_TANH: u32 = 6u;
const SILU: u32 = 7u;
const SOFTPLUS: u32 = 8u;
const HARD_SWISH: u32 = 13u;
const MISH: u32 = 16u;
const SQRT_HALF: f32 = 0.70710678118654752;
const SQRT_2_OVER_PI: f32 = 0.79788456080286536;
const ONE_OVER_SQRT_2_PI: f32 = 0.39894228040143268;

// The error function as a rational approximation on -4..4, beyond which it is 1 to the last bit. Said so,
// since a division may be off by a few units, which an infinite argument would make much of.
fn error_function(argument: f32) -> f32 {
    let x = select(argument, clamp(argument, -4.0, 4.0), !is_nan(argument));
    let s = x * x;
    let p = -1.60960333262415e-2 + s * (-2.95459980854025e-3 + s * (-7.34990630326855e-4
        + s * (-5.69250639462346e-5 + s * (-2.10102402082508e-6 + s * (2.77068142495902e-8
        + s * -2.72614225801306e-10)))));
    let q = -1.42647390514189e-2 + s * (-7.37332916720468e-3 + s * (-1.68282697438203e-3
        + s * (-2.13374055278905e-4 + s * -1.45660718464996e-5)));
    let end = select(-1.0, 1.0, x > 0.0);
    return select(x * p / q, end, s >= 16.0 && !is_nan(x));
}

fn gelu_tanh_argument(x: f32) -> f32 {
    return SQRT_2_OVER_PI * (x + 0.044715 * x * x * x);
}

// tanh(log(1 + exp(x))) is n / d of polynomials in exp(-|x|), which neither overflow nor cancel: n, d, and
// its derivative times d^2.
fn mish_parts(x: f32) -> vec3<f32> {
    let e = exp(-abs(x));
    let n = select(e * (e + 2.0), 1.0 + 2.0 * e, x > 0.0);
    let d = n + select(2.0, 2.0 * e * e, x > 0.0);
    return vec3(n, d, 4.0 * (1.0 + e) * e * select(1.0, e, x > 0.0));
}

fn activation_value(kind: u32, a: f32, b: f32, x: f32) -> f32 {
    switch kind {
        case GELU: { return 0.5 * x * (1.0 + error_function(x * SQRT_HALF)); }
        // (1 + tanh(u)) / 2 is sigmoid(2 u)
        case GELU_TANH: { return x * sigmoid(2.0 * gelu_tanh_argument(x)); }
        case SILU: { return x * sigmoid(x); }
        case SOFTPLUS: { return select(max(x, 0.0) + log(1.0 + exp(-abs(x))), x, x > 20.0 || is_nan(x)); }
        case HARD_SWISH: { return x * (clamp(x + 3.0, 0.0, 6.0) * (1.0 / 6.0)); }
        case MISH: {
            let parts = mish_parts(x);
            return x * (parts.x / parts.y);
        }
        default: { return simple_value(kind, a, b, x); }
    }
}

// The gradient with respect to x from the gradient with respect to activation_value(kind, a, b, x).
// `saved` is the function's value for those whose gradient follows from it, and x for the others.
fn activation_gradient(kind: u32, a: f32, b: f32, saved: f32, gradient: f32) -> f32 {
    switch kind {
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
        case HARD_SWISH: {
            let between = gradient * (saved * (1.0 / 3.0) + 0.5);
            let beyond = select(0.0, gradient, saved > 0.0);
            return select(between, beyond, abs(saved) >= 3.0 && !is_nan(saved));
        }
        case MISH: {
            let parts = mish_parts(saved);
            return gradient * (parts.x / parts.y + saved * (parts.z / (parts.y * parts.y)));
        }
        default: { return simple_gradient(kind, a, b, saved, gradient); }
    }
}
