// The average of a slab of parameters over the updates, four to an invocation:
//   a = kept * a + taken * w
// Where nothing is kept, a may be anything before.

@group(0) @binding(0) var<storage, read> parameter: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> average: array<vec4<f32>>;
@group(0) @binding(2) var<uniform> params: Params;

struct Params {
    len: u32, // in vectors of four
    kept: f32,
    taken: f32,
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let at = flat_index(group, 64u, thread);
    if at >= params.len { return; }
    var a = params.taken * parameter[at];
    if params.kept != 0.0 { a += params.kept * average[at]; }
    average[at] = a;
}
