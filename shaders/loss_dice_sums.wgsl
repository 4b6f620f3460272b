// The sums of the Dice loss, of probabilities p and targets t over the pixels of each class of each
// example: those of p * t and of p + t. A workgroup per example, class and part of the pixels;
// reduce_parts.wgsl adds the parts.

@group(0) @binding(0) var<storage, read> probability: array<f32>; // (N, classes, plane)
@group(0) @binding(1) var<storage, read> labels: array<u32>;      // (N, plane)
@group(0) @binding(2) var<storage, read> values: array<f32>;      // as the probability
@group(0) @binding(3) var<storage, read_write> sums: array<f32>;  // (parts, N, classes, 2)
@group(0) @binding(4) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let slot = flat_group(group); // (part * examples + example) * classes + class
    let lines = params.examples * params.classes;
    if slot / lines >= params.parts { return; }
    let part = part_of(params.plane, params.parts, slot / lines);
    let example = slot % lines / params.classes;
    let class_index = slot % params.classes;
    var both = 0.0;
    var all = 0.0;
    for (var block = part.x + thread; block < part.y; block += BLOCK) {
        let end = min(block + BLOCK, part.y);
        var block_both = 0.0;
        var block_all = 0.0;
        for (var i = block; i < end; i += 64u) {
            let label = label_of(example * params.plane + i);
            if !counts(label) { continue; }
            let at = slot % lines * params.plane + i;
            let p = probability[at];
            let t = target_of(label, class_index, at);
            block_both += p * t;
            block_all += p + t;
        }
        both += block_both;
        all += block_all;
    }
    let total = reduce_sums(thread, vec2(both, all));
    if thread == 0u {
        sums[2u * slot] = total.x;
        sums[2u * slot + 1u] = total.y;
    }
}
