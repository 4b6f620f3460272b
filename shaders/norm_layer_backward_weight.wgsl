// The gradients of gamma and beta of layer normalisation: the sums over the rows of gy * x^ and of
// gy. An invocation per element of a row and part of the rows. Where there are several parts,
// reduce_parts.wgsl adds them.

@group(0) @binding(0) var<storage, read> input: array<Input>;              // (rows, len)
@group(0) @binding(1) var<storage, read> gradient_output: array<f32>;      // (rows, len)
@group(0) @binding(2) var<storage, read> statistics: array<f32>;           // (rows, 2): mean, 1 / deviation
@group(0) @binding(3) var<storage, read_write> gradient_gamma: array<f32>; // (parts, len)
@group(0) @binding(4) var<storage, read_write> gradient_beta: array<f32>;  // (parts, len)
@group(0) @binding(5) var<uniform> params: Params;

struct Params {
    rows: u32,
    len: u32,
    parts: u32,
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let slot = flat_index(group, 64u, thread); // part * len + i
    let i = slot % params.len;
    let part = slot / params.len;
    if part >= params.parts { return; }
    let range = part_of(params.rows, params.parts, part);
    var sums = vec2<f32>();
    for (var block = range.x; block < range.y; block += 16u) {
        let block_end = min(block + 16u, range.y);
        var block_sums = vec2<f32>();
        for (var row = block; row < block_end; row++) {
            let at = row * params.len + i;
            let normal = (f32(input[at]) - statistics[2u * row]) * statistics[2u * row + 1u];
            block_sums += gradient_output[at] * vec2(normal, 1.0);
        }
        sums += block_sums;
    }
    gradient_gamma[slot] = sums.x;
    gradient_beta[slot] = sums.y;
}
