// Negative log-likelihood of the labels and its gradient. An invocation takes every 64th of its
// workgroup's elements:
//   loss     = -weight[label] * x[label]
//   gradient = scale * -weight[label] at the label, 0 elsewhere
// The label of a row that counts for nothing is no class. Each workgroup adds up its elements' losses.

@group(0) @binding(0) var<storage, read> input: array<f32>;              // (N, classes, plane)
@group(0) @binding(1) var<storage, read> labels: array<u32>;             // (N, plane)
@group(0) @binding(2) var<storage, read> class_weights: array<f32>;      // (classes)
@group(0) @binding(3) var<storage, read_write> partial_loss: array<f32>; // (workgroups)
@group(0) @binding(4) var<storage, read_write> gradient: array<f32>;     // as the input
@group(0) @binding(5) var<uniform> params: Params;

struct Params {
    len: u32, // N * classes * plane
    classes: u32,
    plane: u32,
    turns: u32, // elements of an invocation
    scale: f32,
}

override HAS_WEIGHTS: bool = false;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let begin = flat_group(group) * 64u * params.turns;
    let end = min(begin + 64u * params.turns, params.len);
    var loss = 0.0;
    for (var at = begin + thread; at < end; at += 64u) {
        let class_index = at / params.plane % params.classes;
        let example = at / params.plane / params.classes;
        let label = labels[example * params.plane + at % params.plane];
        var slope = 0.0;
        if label == class_index {
            var weight = 1.0;
            if HAS_WEIGHTS { weight = class_weights[class_index]; }
            loss -= weight * input[at];
            slope = params.scale * -weight;
        }
        gradient[at] = slope;
    }
    let sum = reduce_sum(thread, loss);
    if thread == 0u && begin < params.len { partial_loss[flat_group(group)] = sum; }
}
