// The gradient of the Dice loss through the softmax over the classes, or the sigmoid, that made its
// probabilities. An invocation per pixel.

@group(0) @binding(0) var<storage, read> probability: array<f32>;     // (N, classes, plane)
@group(0) @binding(1) var<storage, read> labels: array<u32>;          // (N, plane)
@group(0) @binding(2) var<storage, read> values: array<f32>;          // as the probability
@group(0) @binding(3) var<storage, read> factors: array<vec2<f32>>;   // (N, classes), or (classes)
@group(0) @binding(4) var<storage, read_write> gradient: array<f32>;  // as the probability
@group(0) @binding(5) var<uniform> params: Params;

override SOFTMAX: bool = true;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let row = flat_index(group, 64u, thread);
    let example = row / params.plane;
    if example >= params.examples { return; }
    let first = example * params.classes * params.plane + row % params.plane;
    let label = label_of(row);
    // An example's factors, or those of all.
    let own = select(example * params.classes, 0u, params.over_batch != 0u);
    let classes = loop_bound(params.classes, group);
    var mean = 0.0;
    if SOFTMAX {
        for (var c = 0u; c < classes; c++) {
            let at = first + c * params.plane;
            mean += probability[at] * slope(label, c, at, factors[own + c]);
        }
    }
    for (var c = 0u; c < classes; c++) {
        let at = first + c * params.plane;
        let p = probability[at];
        let of_p = slope(label, c, at, factors[own + c]);
        let of_logit = select(of_p * p * (1.0 - p), p * (of_p - mean), SOFTMAX);
        gradient[at] = params.scale * of_logit;
    }
}

// The gradient with respect to the probability of a class.
fn slope(label: u32, class_index: u32, at: u32, factor: vec2<f32>) -> f32 {
    if !counts(label) { return 0.0; }
    return factor.x - factor.y * target_of(label, class_index, at);
}
