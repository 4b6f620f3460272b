// The sum of two tensors, and a function of it, four elements to an invocation.

@group(0) @binding(0) var<storage, read> left: array<vec4<Left>>;
@group(0) @binding(1) var<storage, read> right: array<vec4<Right>>;
@group(0) @binding(2) var<storage, read_write> output: array<vec4<Output>>;
@group(0) @binding(3) var<uniform> params: Params;

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
    output[at] = vec4<Output>(activated4(at, vec4<f32>(left[at]) + vec4<f32>(right[at])));
}
