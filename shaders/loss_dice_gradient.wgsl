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
    let pixel = row % params.plane;
    let first = example * params.classes * params.plane + pixel;
    let classes = loop_bound(params.classes, group);
    var mean = 0.0;
    if SOFTMAX {
        for (var c = 0u; c < classes; c++) {
            mean += probability[first + c * params.plane] * slope(example, c, pixel);
        }
    }
    for (var c = 0u; c < classes; c++) {
        let at = first + c * params.plane;
        let p = probability[at];
        let own = slope(example, c, pixel);
        let of_logit = select(own * p * (1.0 - p), p * (own - mean), SOFTMAX);
        gradient[at] = params.scale * of_logit;
    }
}

// The gradient with respect to the probability of a class.
fn slope(example: u32, class_index: u32, pixel: u32) -> f32 {
    if !counts(example, pixel) { return 0.0; }
    let factor = factors[select(example * params.classes, 0u, params.over_batch != 0u) + class_index];
    return factor.x - factor.y * target_of(example, class_index, pixel);
}
