// Bytes of an input become the numbers that they stand for, four to an invocation. Each channel has a row of
// 256 numbers, or all of them have one.

@group(0) @binding(0) var<storage, read> input: array<u32>;
@group(0) @binding(1) var<storage, read> numbers: array<f32>;
@group(0) @binding(2) var<storage, read_write> output: array<f32>;
@group(0) @binding(3) var<uniform> params: Params;

struct Params {
    len: u32, // in bytes
    plane: u32, // that have a row
    rows: u32,
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let word = flat_index(group, 64u, thread);
    if 4u * word >= params.len { return; }
    let bytes = input[word];
    for (var i = 0u; i < 4u; i++) {
        let at = 4u * word + i;
        if at >= params.len { return; }
        let row = (at / params.plane) % params.rows;
        output[at] = numbers[256u * row + ((bytes >> (8u * i)) & 255u)];
    }
}
