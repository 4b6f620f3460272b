// The loss of a batch from those of its rows, in one workgroup and a fixed order.

@group(0) @binding(0) var<storage, read> row_loss: array<f32>;    // (rows)
@group(0) @binding(1) var<storage, read_write> loss: array<f32>;  // (1)
@group(0) @binding(2) var<uniform> params: Params;

struct Params {
    rows: u32,
    scale: f32,
}

@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) thread: u32) {
    var sum = 0.0;
    for (var row = thread; row < params.rows; row += 64u) { sum += row_loss[row]; }
    sum = reduce_sum(thread, sum);
    if thread == 0u { loss[0] = params.scale * sum; }
}
