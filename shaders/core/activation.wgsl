
// The element-wise function that a kernel applies to its results, chosen by override constants.
//
// `activation_value` and `activation_gradient` are those of activation_relu.wgsl, activation_straight.wgsl,
// activation_simple.wgsl or activation_all.wgsl: the host takes the first that has all the functions of a pipeline, since drivers
// take long over code that is there for each element that an invocation stores, however dead.
// `keep_argument` is that of argument_kept.wgsl or argument_dropped.wgsl.

// The function's number, `Activation::code` on the host, where 0 is the identity, and the numbers that it
// depends on.
override ACTIVATION: u32 = 0u;
override ACTIVATION_A: f32 = 0.0;
override ACTIVATION_B: f32 = 0.0;

// The function of the result that goes to the element `at` of the output.
fn activated(at: u32, x: f32) -> f32 {
    keep_argument(at, x);
    return activation_value(ACTIVATION, ACTIVATION_A, ACTIVATION_B, x);
}

// Of four results; `at` counts in vectors.
fn activated4(at: u32, x: vec4<f32>) -> vec4<f32> {
    return vec4(
        activated(4u * at, x.x),
        activated(4u * at + 1u, x.y),
        activated(4u * at + 2u, x.z),
        activated(4u * at + 3u, x.w),
    );
}

fn activation_gradient4(kind: u32, a: f32, b: f32, saved: vec4<f32>, gradient: vec4<f32>) -> vec4<f32> {
    return vec4(
        activation_gradient(kind, a, b, saved.x, gradient.x),
        activation_gradient(kind, a, b, saved.y, gradient.y),
        activation_gradient(kind, a, b, saved.z, gradient.z),
        activation_gradient(kind, a, b, saved.w, gradient.w),
    );
}
