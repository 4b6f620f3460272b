
// What happens to a result on its way to memory, chosen by override constants: an activation is
// applied, or the gradient of one, and it is added to what is there.
// Uses the kernel's buffers `saved`, array<vec4<Saved>>, and `output`, array<vec4<Output>>.

// The function that made the value whose gradient this kernel writes, where it was part of the
// kernel that made it: the result becomes the gradient with respect to the function's argument.
// `saved` holds the value, or the argument where the gradient does not follow from the value.
override GRADIENT_OF: u32 = 0u;
override GRADIENT_A: f32 = 0.0;
override GRADIENT_B: f32 = 0.0;
// Whether the result is added to what is there.
override ACCUMULATE: bool = false;

// Four elements; `at` counts in vectors.
fn store4(at: u32, result: vec4<f32>) {
    var r = activated4(at, result);
    if GRADIENT_OF != 0u { r = activation_gradient4(GRADIENT_OF, GRADIENT_A, GRADIENT_B, vec4<f32>(saved[at]), r); }
    if ACCUMULATE { r += vec4<f32>(output[at]); }
    output[at] = vec4<Output>(r);
}

// One element; `at` counts in elements. Only for adapters where the components of a vector are stored
// apart, as they are in SPIR-V: neighbouring invocations may write to one vector.
fn store(at: u32, result: f32) {
    let vector = at / 4u;
    let lane = at % 4u;
    var r = activated(at, result);
    if GRADIENT_OF != 0u { r = activation_gradient(GRADIENT_OF, GRADIENT_A, GRADIENT_B, f32(saved[vector][lane]), r); }
    if ACCUMULATE { r += f32(output[vector][lane]); }
    output[vector][lane] = Output(r);
}
