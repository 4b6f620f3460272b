// y = f(x), element by element, four to an invocation. With the identity for f it copies, or adds to
// what is there, and it may apply the gradient of an earlier function: see core/epilogue4.wgsl.

@group(0) @binding(0) var<storage, read> input: array<vec4<Input>>;
@group(0) @binding(1) var<storage, read> saved: array<vec4<Saved>>;
@group(0) @binding(2) var<storage, read_write> output: array<vec4<Output>>;
@group(0) @binding(3) var<uniform> params: Params;

struct Params {
    elements: u32,
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let at = flat_index(group, 64u, thread);
    if at >= (params.elements + 3u) / 4u { return; }
    // What is behind the last element is anything: it counts as 0, whatever it is added to.
    let inside = vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(params.elements - 4u * at);
    store4(at, select(vec4<f32>(), vec4<f32>(input[at]), inside));
}
