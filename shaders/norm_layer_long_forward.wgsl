// Layer normalisation of long rows, and of the groups of channels of group normalisation, whose statistics
// are there already: y = f(gamma * (x - mean) * inverse deviation + beta), or with HAS_ADDEND f of the sum with
// another value. An invocation per element.

@group(0) @binding(0) var<storage, read> input: array<Input>;         // (rows, len)
@group(0) @binding(1) var<storage, read> gamma: array<f32>;           // (channels)
@group(0) @binding(2) var<storage, read> beta: array<f32>;            // (channels)
@group(0) @binding(3) var<storage, read> statistics: array<f32>;      // (rows, 2): mean, 1 / deviation
@group(0) @binding(4) var<storage, read> addend: array<Addend>;       // (rows, len)
@group(0) @binding(5) var<storage, read_write> output: array<Output>; // (rows, len)
@group(0) @binding(6) var<uniform> params: Params;

override HAS_ADDEND: bool = false;

struct Params {
    rows: u32,
    len: u32,
    channels: u32, // elements of gamma
    plane: u32,    // neighbours that share one
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let at = flat_index(group, 64u, thread);
    let row = at / params.len;
    if row >= params.rows { return; }
    let channel = at / params.plane % params.channels;
    let normal = (f32(input[at]) - statistics[2u * row]) * statistics[2u * row + 1u];
    var y = scaled(channel, normal);
    if AFFINE { y += beta[channel]; }
    if HAS_ADDEND { y += f32(addend[at]); }
    output[at] = Output(activated(at, y));
}
