
// After activation_straight.wgsl where no other functions follow.

fn activation_value(kind: u32, a: f32, b: f32, x: f32) -> f32 {
    return straight_value(kind, a, b, x);
}

fn activation_gradient(kind: u32, a: f32, b: f32, value: f32, gradient: f32) -> f32 {
    return straight_gradient(kind, a, b, value, gradient);
}
