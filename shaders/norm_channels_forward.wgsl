// Layer normalisation over the channels of each position, y = f(gamma * (x - mean) * inverse deviation +
// beta), in two passes so that a large mean costs no digits. A workgroup per 16 neighbouring positions.

@group(0) @binding(0) var<storage, read> input: array<Input>;          // (N, C, plane)
@group(0) @binding(1) var<storage, read> gamma: array<f32>;            // (C)
@group(0) @binding(2) var<storage, read> beta: array<f32>;             // (C)
@group(0) @binding(3) var<storage, read_write> statistics: array<f32>; // (N, plane, 2): mean, 1 / deviation
@group(0) @binding(4) var<storage, read_write> output: array<Output>;  // (N, C, plane)
@group(0) @binding(5) var<uniform> params: Params;

struct Params {
    batch: u32,
    channels: u32,
    plane: u32,
    epsilon: f32,
}

// Values are scaled down by this on their way to a mean, so that the sum of large ones is finite.
const SCALE: f32 = 1.0 / 16384.0;

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let position = flat_group(group) * POSITIONS + thread % POSITIONS;
    let positions = params.batch * params.plane;
    // Of the last workgroup some have none: they take part in the sums, of nothing.
    let channels = select(0u, params.channels, position < positions);
    let first = position / params.plane * params.channels * params.plane + position % params.plane;
    let lane = thread / POSITIONS;
    let count = f32(params.channels);
    var sum = 0.0;
    for (var block = lane; block < channels; block += CHANNEL_BLOCK) {
        let end = min(block + CHANNEL_BLOCK, channels);
        var part = 0.0;
        for (var c = block; c < end; c += LANES) { part += SCALE * f32(input[first + c * params.plane]); }
        sum += part;
    }
    let rough = lanes_sum(thread, sum) / (SCALE * count);
    var differences = 0.0;
    var squares = 0.0;
    for (var block = lane; block < channels; block += CHANNEL_BLOCK) {
        let end = min(block + CHANNEL_BLOCK, channels);
        var part = vec2<f32>();
        for (var c = block; c < end; c += LANES) {
            let difference = f32(input[first + c * params.plane]) - rough;
            part += vec2(SCALE * difference, difference * difference);
        }
        differences += part.x;
        squares += part.y;
    }
    // What rounding left in the mean: the corrected two-pass algorithm.
    let rest = lanes_sum(thread, differences) / (SCALE * count);
    let mean = rough + rest;
    let variance = corrected(lanes_sum(thread, squares), count * rest * rest) / count;
    let inverse = 1.0 / sqrt(variance + params.epsilon);
    for (var c = lane; c < channels; c += LANES) {
        let at = first + c * params.plane;
        var y = scaled(c, (f32(input[at]) - mean) * inverse);
        if AFFINE { y += beta[c]; }
        output[at] = Output(activated(at, y));
    }
    if lane == 0u && position < positions {
        statistics[2u * position] = mean;
        statistics[2u * position + 1u] = inverse;
    }
}
