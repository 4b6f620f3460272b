// What the input gradient of group normalisation needs of a group: the sums over its channels of gamma * gy
// and of gamma * gy * x^, from those of each plane. A workgroup per group.

@group(0) @binding(0) var<storage, read> products: array<f32>;    // (N, C), of gy * x^
@group(0) @binding(1) var<storage, read> sums: array<f32>;        // (N, C), of gy
@group(0) @binding(2) var<storage, read> gamma: array<f32>;       // (C)
@group(0) @binding(3) var<storage, read_write> total: array<f32>; // (N, groups, 2): of gy, of gy * x^
@group(0) @binding(4) var<uniform> params: Params;

struct Params {
    rows: u32,      // N * groups
    per_group: u32, // channels
    channels: u32,  // of an example
}

@compute @workgroup_size(INVOCATIONS)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let row = flat_group(group);
    if row >= params.rows { return; }
    let first = row * params.per_group;
    var found = vec2<f32>();
    for (var block = thread; block < params.per_group; block += block_len()) {
        let end = min(block + block_len(), params.per_group);
        var block_sums = vec2<f32>();
        for (var i = block; i < end; i += INVOCATIONS) {
            let c = (first + i) % params.channels;
            block_sums += vec2(scaled(c, sums[first + i]), scaled(c, products[first + i]));
        }
        found += block_sums;
    }
    let sums = reduce_sums(thread, found);
    if thread == 0u {
        total[2u * row] = sums.x;
        total[2u * row + 1u] = sums.y;
    }
}
