// Softmax cross-entropy and its gradient over many classes, as in loss_cross_entropy.wgsl, from the
// statistics of the softmax and the sum of the target's vector. A workgroup per row and part of the
// classes.

@group(0) @binding(0) var<storage, read> logits: array<f32>;          // (N, classes, plane)
@group(0) @binding(1) var<storage, read> labels: array<u32>;          // (rows), N * plane
@group(0) @binding(2) var<storage, read> probabilities: array<f32>;   // as the logits
@group(0) @binding(3) var<storage, read> class_weights: array<f32>;   // (classes)
@group(0) @binding(4) var<storage, read> statistics: array<f32>;      // (rows, 2): maximum, sum of exp(x - maximum)
@group(0) @binding(5) var<storage, read> mass: array<f32>;            // (rows)
@group(0) @binding(6) var<storage, read_write> part_loss: array<f32>; // (parts, rows)
@group(0) @binding(7) var<storage, read_write> gradient: array<f32>;  // as the logits
@group(0) @binding(8) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let slot = flat_group(group); // part * rows + row
    let row = slot % params.rows;
    if slot / params.rows >= params.parts { return; }
    let part = part_of(params.classes, params.parts, slot / params.rows);
    let first = first_of(row);
    let ignored = is_ignored(row);
    let largest = statistics[2u * row];
    let total = statistics[2u * row + 1u];
    let log_total = logarithm(total);
    let all = select(mass[row], 0.0, ignored);
    var loss = 0.0;
    for (var block = part.x + thread; block < part.y; block += BLOCK) {
        let end = min(block + BLOCK, part.y);
        var block_loss = 0.0;
        for (var c = block; c < end; c += 64u) {
            let t = target_of(row, c);
            let shifted = logits[first + c * params.plane] - largest;
            // A class beside the label costs nothing, even where its logit is negative infinity.
            if t != 0.0 || params.soft != 0u { block_loss += t * (log_total - shifted); }
            let difference = all * (exponential(shifted) / total) - select(t, 0.0, ignored);
            gradient[first + c * params.plane] = select(params.scale, 1.0, ignored) * difference;
        }
        loss += block_loss;
    }
    let sum = reduce_sum(thread, loss);
    if thread == 0u { part_loss[slot] = select(sum, 0.0, ignored); }
}
