// The input gradient of batch normalisation in evaluation, where mean and variance are constants:
// gx = gamma * gy / sqrt(variance + epsilon). An invocation per element.

@group(0) @binding(0) var<storage, read> gradient_output: array<f32>;  // (N, C, plane)
@group(0) @binding(1) var<storage, read> running_variance: array<f32>; // (C)
@group(0) @binding(2) var<storage, read> gamma: array<f32>;            // (C)
@group(0) @binding(3) var<storage, read> saved: array<Saved>;          // (N, C, plane)
@group(0) @binding(4) var<storage, read_write> output: array<Output>;  // (N, C, plane)
@group(0) @binding(5) var<uniform> params: Params;

struct Params {
    batch: u32,
    channels: u32,
    plane: u32,
    epsilon: f32,
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let at = flat_index(group, 64u, thread);
    if at >= params.batch * params.channels * params.plane { return; }
    let channel = at / params.plane % params.channels;
    let inverse = 1.0 / sqrt(running_variance[channel] + params.epsilon);
    store(at, scaled(channel, inverse) * gradient_output[at]);
}
