// Softmax cross-entropy and its gradient, as in loss_cross_entropy.wgsl, where each pixel of an example
// is a row. An invocation takes every 64th of its workgroup's pixels, so that neighbours load neighbours
// of every class; each workgroup adds up its pixels' losses.

@group(0) @binding(0) var<storage, read> logits: array<f32>;             // (N, classes, plane)
@group(0) @binding(1) var<storage, read> labels: array<u32>;             // (rows), N * plane
@group(0) @binding(2) var<storage, read> probabilities: array<f32>;      // as the logits
@group(0) @binding(3) var<storage, read> class_weights: array<f32>;      // (classes)
@group(0) @binding(4) var<storage, read_write> partial_loss: array<f32>; // (workgroups)
@group(0) @binding(5) var<storage, read_write> gradient: array<f32>;     // as the logits
@group(0) @binding(6) var<uniform> params: Params;

const LOWEST: f32 = -3.4028234e38;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let begin = flat_group(group) * 64u * params.turns;
    let end = min(begin + 64u * params.turns, params.rows);
    var loss = 0.0;
    for (var row = begin + thread; row < end; row += 64u) {
        loss += of_row(row, loop_bound(params.classes, group));
    }
    let sum = reduce_sum(thread, loss);
    if thread == 0u && begin < params.rows { partial_loss[flat_group(group)] = sum; }
}

fn of_row(row: u32, classes: u32) -> f32 {
    let first = first_of(row);
    let ignored = is_ignored(row);
    var largest = LOWEST;
    for (var c = 0u; c < classes; c++) { largest = max(largest, logits[first + c * params.plane]); }
    var total = 0.0;
    var mass = 0.0;
    for (var c = 0u; c < classes; c++) {
        total += exponential(logits[first + c * params.plane] - largest);
        mass += target_of(row, c);
    }
    let log_total = logarithm(total);
    let all = select(mass, 0.0, ignored);
    var loss = 0.0;
    for (var c = 0u; c < classes; c++) {
        let at = first + c * params.plane;
        let t = target_of(row, c);
        let shifted = logits[at] - largest;
        // A class beside the label costs nothing, even where its logit is negative infinity.
        if t != 0.0 || params.soft != 0u { loss += t * (log_total - shifted); }
        // Of an ignored row the gradient is 0, or NaN where the logits have no softmax.
        let difference = all * (exponential(shifted) / total) - select(t, 0.0, ignored);
        gradient[at] = select(params.scale, 1.0, ignored) * difference;
    }
    return select(loss, 0.0, ignored);
}
