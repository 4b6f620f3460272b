// Copies a block of each example's channels: into the joined value, or out of its gradient.

@group(0) @binding(0) var<storage, read> input: array<Input>;
@group(0) @binding(1) var<storage, read> saved: array<Saved>;
@group(0) @binding(2) var<storage, read_write> output: array<Output>;
@group(0) @binding(3) var<uniform> params: Params;

struct Params {
    batch: u32,
    len: u32,           // elements of the block in one example
    input_stride: u32,  // from one example to the next
    input_offset: u32,
    output_stride: u32,
    output_offset: u32,
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let at = flat_index(group, 64u, thread);
    let n = at / params.len;
    if n >= params.batch { return; }
    let i = at % params.len;
    let value = f32(input[n * params.input_stride + params.input_offset + i]);
    store(n * params.output_stride + params.output_offset + i, value);
}
