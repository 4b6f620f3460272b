// Mean and inverse standard deviation of each channel over the batch, in two passes so that a large
// mean costs no digits, and the running estimates of mean and variance. A workgroup per channel.

@group(0) @binding(0) var<storage, read> input: array<Input>;                // (N, C, plane)
@group(0) @binding(1) var<storage, read_write> statistics: array<f32>;       // (C, 2): mean, 1 / deviation
@group(0) @binding(2) var<storage, read_write> running_mean: array<f32>;     // (C)
@group(0) @binding(3) var<storage, read_write> running_variance: array<f32>; // (C)
@group(0) @binding(4) var<uniform> params: Params;

struct Params {
    batch: u32,
    channels: u32,
    plane: u32,
    epsilon: f32,
    momentum: f32,
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let channel = flat_group(group);
    if channel >= params.channels { return; }
    let count = params.batch * params.plane;
    var sum = 0.0;
    for (var i = thread; i < count; i += 64u) { sum += f32(input[index(channel, i)]); }
    let mean = reduce_sum(thread, sum) / f32(count);
    var squares = 0.0;
    var differences = 0.0;
    for (var i = thread; i < count; i += 64u) {
        let difference = f32(input[index(channel, i)]) - mean;
        differences += difference;
        squares += difference * difference;
    }
    // What rounding left in the mean: the corrected two-pass algorithm.
    let rest = reduce_sum(thread, differences) / f32(count);
    let rounded = reduce_sum(thread, squares) / f32(count) - rest * rest;
    let variance = select(rounded, 0.0, rounded < 0.0);
    if thread == 0u {
        statistics[2u * channel] = mean + rest;
        statistics[2u * channel + 1u] = 1.0 / sqrt(variance + params.epsilon);
        let unbiased = variance * f32(count) / (f32(count) - 1.0);
        let kept = 1.0 - params.momentum;
        running_mean[channel] = kept * running_mean[channel] + params.momentum * (mean + rest);
        running_variance[channel] = kept * running_variance[channel] + params.momentum * unbiased;
    }
}

// The place of value i of a channel, counted over images and then pixels.
fn index(channel: u32, i: u32) -> u32 {
    return (i / params.plane * params.channels + channel) * params.plane + i % params.plane;
}
