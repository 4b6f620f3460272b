// Layer normalisation of long rows, whose statistics are there already:
// y = gamma * (x - mean) * inverse deviation + beta. An invocation per element.

@group(0) @binding(0) var<storage, read> input: array<Input>;         // (rows, len)
@group(0) @binding(1) var<storage, read> gamma: array<f32>;           // (len)
@group(0) @binding(2) var<storage, read> beta: array<f32>;            // (len)
@group(0) @binding(3) var<storage, read> statistics: array<f32>;      // (rows, 2): mean, 1 / deviation
@group(0) @binding(4) var<storage, read_write> output: array<Output>; // (rows, len)
@group(0) @binding(5) var<uniform> params: Params;

struct Params {
    rows: u32,
    len: u32,
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let at = flat_index(group, 64u, thread);
    let row = at / params.len;
    if row >= params.rows { return; }
    let i = at % params.len;
    let normal = (f32(input[at]) - statistics[2u * row]) * statistics[2u * row + 1u];
    output[at] = Output(gamma[i] * normal + beta[i]);
}
