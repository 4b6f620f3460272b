
// The element-wise functions that a kernel may apply to its results: the simple ones alone, since
// drivers take long over code that is there many times, even where none of it is used.

fn activate(kind: u32, slope: f32, x: f32) -> f32 {
    return simple_value(kind, slope, x);
}

fn activation_gradient(kind: u32, slope: f32, value: f32, gradient: f32) -> f32 {
    return simple_gradient(kind, slope, value, gradient);
}
