// The factor that brings the global norm of all gradients down to a largest one, as PyTorch's
// clip_grad_norm_: min(1, max_norm / (norm + 1e-6)). One workgroup.

@group(0) @binding(0) var<storage, read> squares: array<f32>;   // (len)
@group(0) @binding(1) var<storage, read_write> clip: array<f32>; // (1)
@group(0) @binding(2) var<uniform> params: Params;

struct Params {
    len: u32,
    max_norm: f32,
    gradient_scale: f32, // what the optimizer multiplies the gradients by
}

@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) thread: u32) {
    var sum = 0.0;
    for (var i = thread; i < params.len; i += 64u) { sum += squares[i]; }
    let norm = params.gradient_scale * sqrt(reduce_sum(thread, sum));
    let factor = params.max_norm / (norm + 1e-6);
    // A norm that is NaN makes all gradients NaN.
    if thread == 0u { clip[0] = select(factor, 1.0, factor > 1.0 && !is_nan(factor)); }
}
