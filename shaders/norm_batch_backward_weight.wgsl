// The gradients of gamma and beta: the sums over a channel of gy * x^ and of gy, where
// x^ = (x - mean) * inverse deviation. A workgroup per channel.

@group(0) @binding(0) var<storage, read> input: array<Input>;              // (N, C, plane)
@group(0) @binding(1) var<storage, read> gradient_output: array<f32>;      // (N, C, plane)
@group(0) @binding(2) var<storage, read> statistics: array<f32>;           // (C, 2): mean, 1 / deviation
@group(0) @binding(3) var<storage, read_write> gradient_gamma: array<f32>; // (C)
@group(0) @binding(4) var<storage, read_write> gradient_beta: array<f32>;  // (C)
@group(0) @binding(5) var<uniform> params: Params;

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
    let channel = flat_group(group);
    if channel >= params.channels { return; }
    let mean = statistics[2u * channel];
    let inverse = statistics[2u * channel + 1u];
    var gamma = 0.0;
    var beta = 0.0;
    for (var i = thread; i < params.batch * params.plane; i += 64u) {
        let at = (i / params.plane * params.channels + channel) * params.plane + i % params.plane;
        gamma += gradient_output[at] * ((f32(input[at]) - mean) * inverse);
        beta += gradient_output[at];
    }
    let total_gamma = reduce_sum(thread, gamma);
    let total_beta = reduce_sum(thread, beta);
    if thread == 0u {
        gradient_gamma[channel] = total_gamma;
        gradient_beta[channel] = total_beta;
    }
}
