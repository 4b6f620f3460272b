
// In place of activation.wgsl where a pipeline applies ReLU or nothing, chosen by the host: the other
// functions would be in the way of the driver, however dead. No branches, for the same reason.

fn activate(kind: u32, slope: f32, x: f32) -> f32 {
    return select(x, 0.0, kind == RELU && not_positive(x));
}

fn activation_gradient(kind: u32, slope: f32, value: f32, gradient: f32) -> f32 {
    return select(gradient, 0.0, kind == RELU && not_positive(value));
}
