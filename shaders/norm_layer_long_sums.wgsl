// What the input gradient of layer normalisation needs of long rows: the sums of h = gamma * gy and of
// h * x^, where x^ is the normalised input. A workgroup per row and part of it; reduce_parts.wgsl
// adds the parts.

@group(0) @binding(0) var<storage, read> input: array<Input>;         // (rows, len)
@group(0) @binding(1) var<storage, read> gradient_output: array<f32>; // (rows, len)
@group(0) @binding(2) var<storage, read> statistics: array<f32>;      // (rows, 2): mean, 1 / deviation
@group(0) @binding(3) var<storage, read> gamma: array<f32>;           // (len)
@group(0) @binding(4) var<storage, read_write> sums: array<f32>;      // (parts, rows, 2)
@group(0) @binding(5) var<uniform> params: Params;

struct Params {
    rows: u32,
    len: u32,
    parts: u32,
}

@compute @workgroup_size(INVOCATIONS)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let slot = flat_group(group); // part * rows + row
    let row = slot % params.rows;
    if slot / params.rows >= params.parts { return; }
    let part = part_of(params.len, params.parts, slot / params.rows);
    let mean = statistics[2u * row];
    let inverse = statistics[2u * row + 1u];
    var found = vec2<f32>();
    for (var block = part.x + thread; block < part.y; block += block_len()) {
        let end = min(block + block_len(), part.y);
        var block_sums = vec2<f32>();
        for (var i = block; i < end; i += INVOCATIONS) {
            let at = row * params.len + i;
            let normal = (f32(input[at]) - mean) * inverse;
            block_sums += scaled(i, gradient_output[at]) * vec2(1.0, normal);
        }
        found += block_sums;
    }
    let total = reduce_sums(thread, found);
    if thread == 0u {
        sums[2u * slot] = total.x;
        sums[2u * slot + 1u] = total.y;
    }
}
