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
    for (var block = thread; block < params.len; block += BLOCK) {
        let end = min(block + BLOCK, params.len);
        var block_sum = 0.0;
        for (var i = block; i < end; i += 64u) { block_sum += partial_loss[i]; }
        sum += block_sum;
    }
    let total = params.scale * reduce_sum(thread, sum);
    if thread == 0u { loss[0] = total; }
}
