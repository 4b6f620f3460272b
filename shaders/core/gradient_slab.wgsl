
// The gradient of a slab of parameters as an optimizer sees it: the sum over micro-batches scaled to
// a mean, and clipped. Uses the kernel's buffers `gradient`, `clip` and its `params`.

override HAS_CLIP: bool = false;

fn load_gradient(at: u32) -> vec4<f32> {
    var g = params.gradient_scale * gradient[at];
    if HAS_CLIP { g = g * clip[0] * clip[1]; }
    return g;
}
