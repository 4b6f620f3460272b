// y = f(x), element by element, four to an invocation. With the identity for f it copies, or adds to
// what is there, and it may apply the gradient of an earlier function: see core/epilogue4.wgsl.

@group(0) @binding(0) var<storage, read> input: array<vec4<Input>>;
@group(0) @binding(1) var<storage, read> saved: array<vec4<Saved>>;
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
    store4(at, vec4<f32>(input[at]));
}
