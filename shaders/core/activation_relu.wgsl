
// ReLU or nothing. No branches: what the driver makes of them is longer.

const RELU: u32 = 1u;

fn activation_value(kind: u32, a: f32, b: f32, x: f32) -> f32 {
    return select(x, 0.0, kind == RELU && not_positive(x));
}

fn activation_gradient(kind: u32, a: f32, b: f32, value: f32, gradient: f32) -> f32 {
    return select(gradient, 0.0, kind == RELU && not_positive(value));
}
