// Losses that are a sum over elements, and their gradients, an element to an invocation:
//   squared error          loss = (x - t)^2                     gradient = scale * 2 (x - t)
//   binary cross-entropy   loss = max(x, 0) - x t + log(1 + exp(-|x|))   = scale * (sigmoid(x) - t)
// Each workgroup adds up its elements' losses.

@group(0) @binding(0) var<storage, read> input: array<f32>;              // (len)
@group(0) @binding(1) var<storage, read> wanted: array<f32>;             // (len)
@group(0) @binding(2) var<storage, read_write> partial_loss: array<f32>; // (workgroups)
@group(0) @binding(3) var<storage, read_write> gradient: array<f32>;     // (len)
@group(0) @binding(4) var<uniform> params: Params;

struct Params {
    len: u32,
    scale: f32,
}

override BINARY: bool = false;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let at = flat_index(group, 64u, thread);
    var loss = 0.0;
    if at < params.len {
        let x = input[at];
        let t = wanted[at];
        if BINARY {
            let e = exponential(-abs(x));
            loss = select(-x * t, (1.0 - t) * x, x > 0.0) + logarithm(1.0 + e);
            gradient[at] = params.scale * (select(e, 1.0, x >= 0.0) / (1.0 + e) - t);
        } else {
            loss = (x - t) * (x - t);
            gradient[at] = params.scale * 2.0 * (x - t);
        }
    }
    let sum = reduce_sum(thread, loss);
    if thread == 0u && at < params.len { partial_loss[flat_group(group)] = sum; }
}
