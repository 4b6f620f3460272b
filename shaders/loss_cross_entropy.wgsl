// Softmax cross-entropy and its gradient, a workgroup per example, whose invocations take every 64th
// class each:
//   loss     = sum over c of target[c] * (log sum exp(logits) - logits[c])
//   gradient = scale * (sum(target) * softmax(logits) - target)
// Logits are shifted by their maximum, so that large ones stay finite.

@group(0) @binding(0) var<storage, read> logits: array<f32>;             // (N, classes)
@group(0) @binding(1) var<storage, read> labels: array<u32>;             // (N), or a dummy
@group(0) @binding(2) var<storage, read> probabilities: array<f32>;      // (N, classes), or a dummy
@group(0) @binding(3) var<storage, read_write> row_loss: array<f32>;     // (N)
@group(0) @binding(4) var<storage, read_write> gradient: array<f32>;     // (N, classes)
@group(0) @binding(5) var<uniform> params: Params;

struct Params {
    rows: u32,
    classes: u32,
    scale: f32,
    soft: u32, // whether the target is probabilities rather than labels
}

const LOWEST: f32 = -3.4028234e38;

fn target_of(row: u32, class_index: u32) -> f32 {
    if params.soft != 0u { return probabilities[row * params.classes + class_index]; }
    return select(0.0, 1.0, labels[row] == class_index);
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let row = flat_group(group);
    if row >= params.rows { return; }
    let first = row * params.classes;
    var largest = LOWEST;
    for (var c = thread; c < params.classes; c += 64u) { largest = max(largest, logits[first + c]); }
    largest = reduce_max(thread, largest);
    var total = 0.0;
    for (var c = thread; c < params.classes; c += 64u) { total += exp(logits[first + c] - largest); }
    total = reduce_sum(thread, total);
    let log_total = log(total);
    var mass = 0.0;
    var loss = 0.0;
    for (var c = thread; c < params.classes; c += 64u) {
        let p = target_of(row, c);
        mass += p;
        // A class of probability 0 costs nothing, even where its logit is negative infinity.
        if p != 0.0 { loss += p * (log_total - (logits[first + c] - largest)); }
    }
    mass = reduce_sum(thread, mass);
    loss = reduce_sum(thread, loss);
    for (var c = thread; c < params.classes; c += 64u) {
        let softmax = exp(logits[first + c] - largest) / total;
        gradient[first + c] = params.scale * (mass * softmax - target_of(row, c));
    }
    if thread == 0u { row_loss[row] = loss; }
}
