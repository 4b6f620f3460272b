// Softmax cross-entropy and its gradient, an invocation per example. With t the target, a vector
// over the classes made of label or probabilities, smoothing and class weights:
//   loss     = sum over c of t[c] * (log sum exp(logits) - logits[c])
//   gradient = scale * (sum(t) * softmax(logits) - t)
// Logits are shifted by their maximum, so that large ones stay finite.

@group(0) @binding(0) var<storage, read> logits: array<f32>;         // (N, classes)
@group(0) @binding(1) var<storage, read> labels: array<u32>;         // (N)
@group(0) @binding(2) var<storage, read> probabilities: array<f32>;  // (N, classes)
@group(0) @binding(3) var<storage, read> class_weights: array<f32>;  // (classes)
@group(0) @binding(4) var<storage, read_write> row_loss: array<f32>; // (N)
@group(0) @binding(5) var<storage, read_write> gradient: array<f32>; // (N, classes)
@group(0) @binding(6) var<uniform> params: Params;

struct Params {
    rows: u32,
    classes: u32,
    scale: f32,
    soft: u32, // whether the target is probabilities rather than labels
    smoothing: f32,
    ignored: u32, // the label whose rows count for nothing
    has_ignored: u32,
}

override HAS_WEIGHTS: bool = false;

fn target_of(row: u32, class_index: u32) -> f32 {
    var t: f32;
    if params.soft != 0u {
        t = probabilities[row * params.classes + class_index];
    } else {
        t = select(0.0, 1.0, labels[row] == class_index);
    }
    t = t * (1.0 - params.smoothing) + params.smoothing / f32(params.classes);
    if HAS_WEIGHTS { t *= class_weights[class_index]; }
    return t;
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let row = flat_index(group, 64u, thread);
    if row >= params.rows { return; }
    let first = row * params.classes;
    if params.has_ignored != 0u && params.soft == 0u {
        if labels[row] == params.ignored {
            for (var c = 0u; c < params.classes; c++) { gradient[first + c] = 0.0; }
            row_loss[row] = 0.0;
            return;
        }
    }
    var largest = logits[first];
    for (var c = 1u; c < params.classes; c++) { largest = max(largest, logits[first + c]); }
    var total = 0.0;
    for (var c = 0u; c < params.classes; c++) { total += exp(logits[first + c] - largest); }
    let log_total = log(total);
    var mass = 0.0;
    var loss = 0.0;
    for (var c = 0u; c < params.classes; c++) {
        let t = target_of(row, c);
        mass += t;
        // A class that is not wanted costs nothing, even where its logit is negative infinity.
        if t != 0.0 { loss += t * (log_total - (logits[first + c] - largest)); }
    }
    for (var c = 0u; c < params.classes; c++) {
        let softmax = exp(logits[first + c] - largest) / total;
        gradient[first + c] = params.scale * (mass * softmax - target_of(row, c));
    }
    row_loss[row] = loss;
}
