
// After activation_simple.wgsl where activation_all.wgsl does not follow.

fn activation_value(kind: u32, a: f32, b: f32, x: f32) -> f32 {
    return simple_value(kind, a, b, x);
}

fn activation_gradient(kind: u32, a: f32, b: f32, value: f32, gradient: f32) -> f32 {
    return simple_gradient(kind, a, b, value, gradient);
}
