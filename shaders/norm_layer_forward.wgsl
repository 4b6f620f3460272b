// Layer normalisation: each row by itself, y = f(gamma * (x - mean) * inverse deviation + beta).
// A workgroup per row.

@group(0) @binding(0) var<storage, read> input: array<vec4<Input>>;    // (rows, len)
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

// A row is what a channel is in core/planes.wgsl, with one image.
fn load_values(row: u32, place: Place) -> vec4<f32> {
    if PLANE_VEC4 { return vec4<f32>(input[row * (params.len / 4u) + place.pixel]); }
    return for_each(load_value(row * params.len + place.pixel));
}

fn load_value(at: u32) -> f32 {
    return f32(input[at / 4u][at % 4u]);
}

@compute @workgroup_size(INVOCATIONS)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let row = flat_group(group);
    if row >= params.rows { return; }
    let places = params.len / select(1u, 4u, PLANE_VEC4);
    let found = moments(thread, row, 0u, places, places);
    let inverse = 1.0 / sqrt(found.squares / f32(params.len) + params.epsilon);
    for (var i = thread; i < params.len; i += INVOCATIONS) {
        let at = row * params.len + i;
        let normal = (load_value(at) - found.mean) * inverse;
        var y = scaled(i, normal);
        if AFFINE { y += beta[i]; }
        output[at] = Output(activated(at, y));
    }
    if thread == 0u {
        statistics[2u * row] = found.mean;
        statistics[2u * row + 1u] = inverse;
    }
}
