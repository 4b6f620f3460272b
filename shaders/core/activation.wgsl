
// Element-wise functions by number, as in `Activation::code`; 0 is the identity. The number is an
// override constant wherever these are called, so the driver keeps one branch.
// NaN is told by its bits, since compilers may assume that no comparison meets one.

const RELU: u32 = 1u;
const SIGMOID: u32 = 2u;
const TANH: u32 = 3u;

fn is_nan(x: f32) -> bool {
    return (bitcast<u32>(x) & 0x7fffffffu) > 0x7f800000u;
}

fn activate(kind: u32, x: f32) -> f32 {
    switch kind {
        case RELU: {
            return select(x, 0.0, x <= 0.0 && !is_nan(x));
        }
        case SIGMOID: {
            let e = exp(-abs(x)); // at most 1, so that nothing overflows
            return select(x, select(e, 1.0, x >= 0.0) / (1.0 + e), !is_nan(x));
        }
        case TANH: {
            // Some drivers give NaN where exp overflows inside tanh; beyond 10 it is 1 to the last bit.
            return select(x, tanh(clamp(x, -10.0, 10.0)), !is_nan(x));
        }
        default: {
            return x;
        }
    }
}

// The gradient with respect to x, from y = activate(kind, x) and the gradient with respect to y.
fn activation_gradient(kind: u32, y: f32, gradient: f32) -> f32 {
    switch kind {
        case RELU: {
            return select(gradient, 0.0, y <= 0.0 && !is_nan(y));
        }
        case SIGMOID: {
            return gradient * y * (1.0 - y);
        }
        case TANH: {
            return gradient * (1.0 - y * y);
        }
        default: {
            return gradient;
        }
    }
}

fn activate4(kind: u32, x: vec4<f32>) -> vec4<f32> {
    return vec4(activate(kind, x.x), activate(kind, x.y), activate(kind, x.z), activate(kind, x.w));
}

fn activation_gradient4(kind: u32, y: vec4<f32>, gradient: vec4<f32>) -> vec4<f32> {
    return vec4(
        activation_gradient(kind, y.x, gradient.x),
        activation_gradient(kind, y.y, gradient.y),
        activation_gradient(kind, y.z, gradient.z),
        activation_gradient(kind, y.w, gradient.w),
    );
}
