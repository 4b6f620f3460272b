// Softmax cross-entropy and its gradient, a workgroup per row, whose invocations take every 64th
// class each. With t the target, a vector over the classes made of label or probabilities, smoothing
// and class weights:
//   loss     = sum over c of t[c] * (log sum exponential(logits) - logits[c])
//   gradient = scale * (sum(t) * softmax(logits) - t)
// Logits are shifted by their maximum, so that large ones stay finite.

@group(0) @binding(0) var<storage, read> logits: array<f32>;         // (N, classes, plane)
@group(0) @binding(1) var<storage, read> labels: array<u32>;         // (rows), N * plane
@group(0) @binding(2) var<storage, read> probabilities: array<f32>;  // as the logits
@group(0) @binding(3) var<storage, read> class_weights: array<f32>;  // (classes)
@group(0) @binding(4) var<storage, read_write> row_loss: array<f32>; // (rows)
@group(0) @binding(5) var<storage, read_write> gradient: array<f32>; // as the logits
@group(0) @binding(6) var<uniform> params: Params;

const LOWEST: f32 = -3.4028234e38;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let row = flat_group(group);
    if row >= params.rows { return; }
    let first = first_of(row);
    let ignored = is_ignored(row);
    var largest = LOWEST;
    for (var c = thread; c < params.classes; c += 64u) { largest = max(largest, logits[first + c * params.plane]); }
    largest = reduce_max(thread, largest);
    var total = 0.0;
    for (var c = thread; c < params.classes; c += 64u) { total += exponential(logits[first + c * params.plane] - largest); }
    total = reduce_sum(thread, total);
    let log_total = logarithm(total);
    var mass = 0.0;
    var loss = 0.0;
    for (var c = thread; c < params.classes; c += 64u) {
        let t = target_of(row, c);
        mass += t;
        // A class beside the label costs nothing, even where its logit is negative infinity.
        if t != 0.0 || params.soft != 0u { loss += t * (log_total - (logits[first + c * params.plane] - largest)); }
    }
    mass = select(reduce_sum(thread, mass), 0.0, ignored);
    loss = reduce_sum(thread, loss);
    for (var c = thread; c < params.classes; c += 64u) {
        let softmax = exponential(logits[first + c * params.plane] - largest) / total;
        // Of an ignored row the gradient is 0, or NaN where the logits have no softmax.
        let difference = mass * softmax - select(target_of(row, c), 0.0, ignored);
        gradient[first + c * params.plane] = select(params.scale, 1.0, ignored) * difference;
    }
    if thread == 0u { row_loss[row] = select(loss, 0.0, ignored); }
}
