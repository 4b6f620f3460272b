// The loss of a batch from partial sums, in one workgroup and a fixed order.

@group(0) @binding(0) var<storage, read> partial_loss: array<f32>; // (len)
@group(0) @binding(1) var<storage, read_write> loss: array<f32>;   // (1)
@group(0) @binding(2) var<uniform> params: Params;

struct Params {
    len: u32,
    scale: f32,
}

@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) thread: u32) {
    var sum = 0.0;
    for (var i = thread; i < params.len; i += 64u) { sum += partial_loss[i]; }
    let total = params.scale * reduce_sum(thread, sum);
    if thread == 0u { loss[0] = total; }
}
