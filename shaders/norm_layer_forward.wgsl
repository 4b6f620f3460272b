// Layer normalisation: each row by itself, y = gamma * (x - mean) * inverse deviation + beta.
// A workgroup per row; mean and variance as in norm_batch_statistics.wgsl.

@group(0) @binding(0) var<storage, read> input: array<Input>;          // (rows, len)
@group(0) @binding(1) var<storage, read> gamma: array<f32>;            // (len)
@group(0) @binding(2) var<storage, read> beta: array<f32>;             // (len)
@group(0) @binding(3) var<storage, read_write> statistics: array<f32>; // (rows, 2): mean, 1 / deviation
@group(0) @binding(4) var<storage, read_write> output: array<Output>;  // (rows, len)
@group(0) @binding(5) var<uniform> params: Params;

struct Params {
    rows: u32,
    len: u32,
    epsilon: f32,
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let row = flat_group(group);
    if row >= params.rows { return; }
    let first = row * params.len;
    let count = f32(params.len);
    var sum = 0.0;
    for (var i = thread; i < params.len; i += 64u) { sum += f32(input[first + i]); }
    let rough = reduce_sum(thread, sum) / count;
    var squares = 0.0;
    var differences = 0.0;
    for (var i = thread; i < params.len; i += 64u) {
        let difference = f32(input[first + i]) - rough;
        differences += difference;
        squares += difference * difference;
    }
    let rest = reduce_sum(thread, differences) / count;
    let mean = rough + rest;
    let rounded = reduce_sum(thread, squares) / count - rest * rest;
    let variance = select(rounded, 0.0, rounded < 0.0);
    let inverse = 1.0 / sqrt(variance + params.epsilon);
    for (var i = thread; i < params.len; i += 64u) {
        output[first + i] = Output(gamma[i] * ((f32(input[first + i]) - mean) * inverse) + beta[i]);
    }
    if thread == 0u {
        statistics[2u * row] = mean;
        statistics[2u * row + 1u] = inverse;
    }
}
