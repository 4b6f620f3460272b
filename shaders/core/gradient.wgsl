
// The gradient that arrives, from the kernel's buffer `given`, array<vec4<Given>>: `gradient_at` an element, and
// `gradients_at` a vector, are those of gradient_given.wgsl or gradient_turned.wgsl. A kernel calls one of them,
// once for each element.

// The function that it goes through, `Activation::code` on the host, where 0 is none, and the numbers that the
// function depends on.
override FUNCTION: u32 = 0u;
override FUNCTION_A: f32 = 0.0;
override FUNCTION_B: f32 = 0.0;
