// The input gradient of batch normalisation in training, where mean and deviation depend on the
// input too: gx = gamma * inverse deviation * (gy - mean(gy) - x^ * mean(gy * x^)). The two means
// are the gradients of beta and gamma over the count. An invocation per element.

@group(0) @binding(0) var<storage, read> input: array<Input>;         // (N, C, plane)
@group(0) @binding(1) var<storage, read> gradient_output: array<f32>; // (N, C, plane)
@group(0) @binding(2) var<storage, read> statistics: array<f32>;      // (C, 2): mean, 1 / deviation
@group(0) @binding(3) var<storage, read> gamma: array<f32>;           // (C)
@group(0) @binding(4) var<storage, read> gradient_gamma: array<f32>;  // (C)
@group(0) @binding(5) var<storage, read> gradient_beta: array<f32>;   // (C)
@group(0) @binding(6) var<storage, read> saved: array<Saved>;         // (N, C, plane)
@group(0) @binding(7) var<storage, read_write> output: array<Output>; // (N, C, plane)
@group(0) @binding(8) var<uniform> params: Params;

struct Params {
    batch: u32,
    channels: u32,
    plane: u32,
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let at = flat_index(group, 64u, thread);
    if at >= params.batch * params.channels * params.plane { return; }
    let channel = at / params.plane % params.channels;
    let inverse = statistics[2u * channel + 1u];
    let normal = (f32(input[at]) - statistics[2u * channel]) * inverse;
    let count = f32(params.batch * params.plane);
    let centred = gradient_output[at] - gradient_beta[channel] / count
        - normal * (gradient_gamma[channel] / count);
    store(at, scaled(channel, inverse) * centred);
}
