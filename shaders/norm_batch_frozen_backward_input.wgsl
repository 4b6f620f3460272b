// The input gradient of batch normalisation in evaluation, where mean and variance are constants:
// gx = gamma * gy / sqrt(variance + epsilon). Four elements to an invocation.

@group(0) @binding(0) var<storage, read> gradient_output: array<vec4<f32>>; // (N, C, plane)
@group(0) @binding(1) var<storage, read> running_variance: array<f32>;      // (C)
@group(0) @binding(2) var<storage, read> gamma: array<f32>;                 // (C)
@group(0) @binding(3) var<storage, read> saved: array<vec4<Saved>>;         // (N, C, plane)
@group(0) @binding(4) var<storage, read_write> output: array<vec4<Output>>; // (N, C, plane)
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
    let elements = params.batch * params.channels * params.plane;
    if at >= (elements + 3u) / 4u { return; }
    let channel = channels_of(at, params.plane, params.channels);
    let factor = vec4(factor_of(channel.x), factor_of(channel.y), factor_of(channel.z), factor_of(channel.w));
    store4(at, select(vec4<f32>(), factor * gradient_output[at], elements_inside(at, elements)));
}

fn factor_of(channel: u32) -> f32 {
    return scaled(channel, 1.0 / sqrt(running_variance[channel] + params.epsilon));
}
