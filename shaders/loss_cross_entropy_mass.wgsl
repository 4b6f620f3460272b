// The sum of a target's vector over many classes, by parts of them. A workgroup per row and part;
// reduce_parts.wgsl adds the parts.

@group(0) @binding(0) var<storage, read> labels: array<u32>;        // (rows), N * plane
@group(0) @binding(1) var<storage, read> probabilities: array<f32>; // (N, classes, plane)
@group(0) @binding(2) var<storage, read> class_weights: array<f32>; // (classes)
@group(0) @binding(3) var<storage, read_write> mass: array<f32>;    // (parts, rows)
@group(0) @binding(4) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let slot = flat_group(group); // part * rows + row
    if slot / params.rows >= params.parts { return; }
    let part = part_of(params.classes, params.parts, slot / params.rows);
    var sum = 0.0;
    for (var block = part.x + thread; block < part.y; block += BLOCK) {
        let end = min(block + BLOCK, part.y);
        var block_sum = 0.0;
        for (var c = block; c < end; c += 64u) { block_sum += target_of(slot % params.rows, c); }
        sum += block_sum;
    }
    let total = reduce_sum(thread, sum);
    if thread == 0u { mass[slot] = total; }
}
