
// What happens to a result on its way to memory, chosen by override constants: an activation is
// applied, or the gradient of one, and it is added to what is there.
// Uses the kernel's buffers `saved`, array<vec4<Saved>>, and `output`, array<vec4<Output>>.

// The function applied to the result, and its slope for negative arguments.
override ACTIVATION: u32 = 0u;
override SLOPE: f32 = 0.0;
// The function that made the value whose gradient this kernel writes, where it was part of the
// kernel that made it: the result becomes the gradient with respect to the function's argument.
// `saved` holds the value.
override GRADIENT_OF: u32 = 0u;
override GRADIENT_SLOPE: f32 = 0.0;
// Whether the result is added to what is there.
override ACCUMULATE: bool = false;

// Four elements; `at` counts in vectors.
fn store4(at: u32, result: vec4<f32>) {
    var r = activate4(ACTIVATION, SLOPE, result);
    if GRADIENT_OF != 0u { r = activation_gradient4(GRADIENT_OF, GRADIENT_SLOPE, vec4<f32>(saved[at]), r); }
    if ACCUMULATE { r += vec4<f32>(output[at]); }
    output[at] = vec4<Output>(r);
}

// One element; `at` counts in elements. Only for adapters where the components of a vector are stored
// apart, as they are in SPIR-V: neighbouring invocations may write to one vector.
fn store(at: u32, result: f32) {
    let vector = at / 4u;
    let lane = at % 4u;
    var r = activate(ACTIVATION, SLOPE, result);
    if GRADIENT_OF != 0u { r = activation_gradient(GRADIENT_OF, GRADIENT_SLOPE, f32(saved[vector][lane]), r); }
    if ACCUMULATE { r += f32(output[vector][lane]); }
    output[vector][lane] = Output(r);
}
