// Adds the parts of a split sum in order.

@group(0) @binding(0) var<storage, read> partial: array<f32>;     // (parts, len)
@group(0) @binding(1) var<storage, read_write> total: array<f32>; // (len)
@group(0) @binding(2) var<uniform> params: Params;

struct Params {
    len: u32,
    parts: u32,
}

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
    total[at] = sum;
}
