// Copies a buffer, a vector of four to an invocation: as many bytes as the device can move. No model
// uses this kernel; `Gpu::peaks` times it.

@group(0) @binding(0) var<storage, read> input: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> output: array<vec4<f32>>;
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
    output[at] = input[at];
}
