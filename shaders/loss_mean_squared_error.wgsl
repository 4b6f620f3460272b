// The squared error and its gradient, a workgroup per example, whose invocations take every 64th
// element each:
//   loss = sum over i of (output[i] - target[i])^2,  gradient = scale * 2 (output - target)

@group(0) @binding(0) var<storage, read> output: array<f32>;         // (N, len)
@group(0) @binding(1) var<storage, read> wanted: array<f32>;         // (N, len)
@group(0) @binding(2) var<storage, read_write> row_loss: array<f32>; // (N)
@group(0) @binding(3) var<storage, read_write> gradient: array<f32>; // (N, len)
@group(0) @binding(4) var<uniform> params: Params;

struct Params {
    rows: u32,
    len: u32,
    scale: f32,
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let row = flat_group(group);
    if row >= params.rows { return; }
    var loss = 0.0;
    for (var i = row * params.len + thread; i < (row + 1u) * params.len; i += 64u) {
        let difference = output[i] - wanted[i];
        loss += difference * difference;
        gradient[i] = params.scale * 2.0 * difference;
    }
    loss = reduce_sum(thread, loss);
    if thread == 0u { row_loss[row] = loss; }
}
