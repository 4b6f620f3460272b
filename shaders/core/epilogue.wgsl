
// What happens to a result on its way to memory, chosen by override constants: an activation is
// applied, or the gradient of one, and it is added to what is there.
// Uses the kernel's buffers `saved`, array<Saved>, and `output`, array<Output>.

// The function that made the value whose gradient this kernel writes, where it was part of the
// kernel that made it: the result becomes the gradient with respect to the function's argument.
// `saved` holds the value, or the argument where the gradient does not follow from the value.
override GRADIENT_OF: u32 = 0u;
override GRADIENT_A: f32 = 0.0;
override GRADIENT_B: f32 = 0.0;
// Whether the result is added to what is there.
override ACCUMULATE: bool = false;

fn store(at: u32, result: f32) {
    var r = activated(at, result);
    if GRADIENT_OF != 0u { r = activation_gradient(GRADIENT_OF, GRADIENT_A, GRADIENT_B, f32(saved[at]), r); }
    if ACCUMULATE { r += f32(output[at]); }
    output[at] = Output(r);
}
