// The input gradient of layer normalisation over the channels of each position: with h = gamma * gy and x^
// the normalised input, gx = inverse deviation * (h - mean(h) - x^ * mean(h * x^)). A workgroup per 16
// neighbouring positions.

@group(0) @binding(0) var<storage, read> input: array<Input>;         // (N, C, plane)
@group(0) @binding(1) var<storage, read> gradient_output: array<f32>; // (N, C, plane)
@group(0) @binding(2) var<storage, read> statistics: array<f32>;      // (N, plane, 2): mean, 1 / deviation
@group(0) @binding(3) var<storage, read> gamma: array<f32>;           // (C)
@group(0) @binding(4) var<storage, read> saved: array<Saved>;         // (N, C, plane)
@group(0) @binding(5) var<storage, read_write> output: array<Output>; // (N, C, plane)
@group(0) @binding(6) var<uniform> params: Params;

struct Params {
    batch: u32,
    channels: u32,
    plane: u32,
}

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let position = flat_group(group) * POSITIONS + thread % POSITIONS;
    let inside = position < params.batch * params.plane;
    // Of the last workgroup some have none: they take part in the sums, of nothing.
    let channels = select(0u, params.channels, inside);
    let first = position / params.plane * params.channels * params.plane + position % params.plane;
    let lane = thread / POSITIONS;
    let count = f32(params.channels);
    let mean = statistics[select(0u, 2u * position, inside)];
    let inverse = statistics[select(1u, 2u * position + 1u, inside)];
    var found = vec2<f32>();
    for (var block = lane; block < channels; block += CHANNEL_BLOCK) {
        let end = min(block + CHANNEL_BLOCK, channels);
        var part = vec2<f32>();
        for (var c = block; c < end; c += LANES) {
            let at = first + c * params.plane;
            part += scaled(c, gradient_output[at]) * vec2(1.0, (f32(input[at]) - mean) * inverse);
        }
        found += part;
    }
    let mean_sum = lanes_sum(thread, found.x) / count;
    let mean_product = lanes_sum(thread, found.y) / count;
    for (var c = lane; c < channels; c += LANES) {
        let at = first + c * params.plane;
        let normal = (f32(input[at]) - mean) * inverse;
        let change = inverse * (scaled(c, gradient_output[at]) - mean_sum - normal * mean_product);
        // A single channel has no gradient; where the product is fused with the difference, its rounding would be one.
        store(at, select(change, 0.0, params.channels == 1u));
    }
}
