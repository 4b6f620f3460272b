// The factor that brings the global norm of all gradients down to a largest one, as PyTorch's
// clip_grad_norm_: min(1, max_norm / (norm + 1e-6)). One workgroup.
//
// The factor for huge gradients may be too small for a number: it is kept as a product of two.

@group(0) @binding(0) var<storage, read> squares: array<f32>;    // (len, 2): sums of squares, and of scaled ones
@group(0) @binding(1) var<storage, read_write> clip: array<f32>; // (2)
@group(0) @binding(2) var<uniform> params: Params;

struct Params {
    len: u32,
    max_norm: f32,
    gradient_scale: f32, // what the optimizer multiplies the gradients by
}

@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) thread: u32) {
    var sums = vec2<f32>();
    for (var block = thread; block < params.len; block += BLOCK) {
        let end = min(block + BLOCK, params.len);
        var block_sums = vec2<f32>();
        for (var i = block; i < end; i += 64u) { block_sums += vec2(squares[2u * i], squares[2u * i + 1u]); }
        sums += block_sums;
    }
    let roots = params.gradient_scale * sqrt(reduce_sums(thread, sums));
    let root = roots.x;
    let scaled_root = roots.y;
    if thread == 0u {
        if (bitcast<u32>(root) & 0x7fffffffu) == 0x7f800000u {
            clip[0] = HUGE_SCALE;
            clip[1] = min(params.max_norm / scaled_root, 1.0 / HUGE_SCALE);
        } else {
            let factor = params.max_norm / (root + 1e-6);
            // A norm that is NaN makes all gradients NaN.
            clip[0] = select(factor, 1.0, factor > 1.0 && !is_nan(factor));
            clip[1] = 1.0;
        }
    }
}
