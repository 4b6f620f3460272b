// Adds the parts of a split sum in order, with an optional bias along the columns and an activation,
// or an activation's gradient, on the way out.

@group(0) @binding(0) var<storage, read> partial: array<f32>;         // (parts, rows, columns)
@group(0) @binding(1) var<storage, read> bias: array<f32>;            // (columns)
@group(0) @binding(2) var<storage, read> saved: array<Saved>;         // (rows, columns)
@group(0) @binding(3) var<storage, read_write> output: array<Output>; // (rows, columns)
@group(0) @binding(4) var<uniform> params: Params;

struct Params {
    len: u32, // rows * columns
    columns: u32,
    parts: u32,
}

override HAS_BIAS: bool = false;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let at = flat_index(group, 64u, thread);
    if at >= params.len { return; }
    var sum = 0.0;
    let parts = loop_bound(params.parts, group);
    for (var part = 0u; part < parts; part++) {
        sum += partial[part * params.len + at];
    }
    if HAS_BIAS { sum += bias[at % params.columns]; }
    store(at, sum);
}
