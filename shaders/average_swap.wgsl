// Puts the average of a slab of parameters in their place, and them in its.

@group(0) @binding(0) var<storage, read_write> parameter: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> average: array<vec4<f32>>;
@group(0) @binding(2) var<uniform> params: Params;

struct Params {
    len: u32, // in vectors of four
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let at = flat_index(group, 64u, thread);
    if at >= params.len { return; }
    let w = parameter[at];
    parameter[at] = average[at];
    average[at] = w;
}
