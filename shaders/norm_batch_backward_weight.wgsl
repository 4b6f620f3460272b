// The gradients of gamma and beta: the sums over a channel of gy * x^ and of gy, where
// x^ = (x - mean) * inverse deviation. A workgroup per channel and part of its values. Where there are
// several parts, reduce_parts.wgsl adds them.

@group(0) @binding(0) var<storage, read> input: array<Input>;              // (N, C, plane)
@group(0) @binding(1) var<storage, read> gradient_output: array<f32>;      // (N, C, plane)
@group(0) @binding(2) var<storage, read> statistics: array<f32>;           // (C, 2): mean, 1 / deviation
@group(0) @binding(3) var<storage, read_write> gradient_gamma: array<f32>; // (parts, C)
@group(0) @binding(4) var<storage, read_write> gradient_beta: array<f32>;  // (parts, C)
@group(0) @binding(5) var<uniform> params: Params;

struct Params {
    batch: u32,
    channels: u32,
    plane: u32,
    parts: u32,
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let slot = flat_group(group); // part * channels + channel
    let channel = slot % params.channels;
    if slot / params.channels >= params.parts { return; }
    let part = part_of(params.batch * params.plane, params.parts, slot / params.channels);
    let mean = statistics[2u * channel];
    let inverse = statistics[2u * channel + 1u];
    var sums = vec2<f32>();
    for (var block = part.x + thread; block < part.y; block += BLOCK) {
        let end = min(block + BLOCK, part.y);
        var block_sums = vec2<f32>();
        for (var i = block; i < end; i += 64u) {
            let at = (i / params.plane * params.channels + channel) * params.plane + i % params.plane;
            let normal = (f32(input[at]) - mean) * inverse;
            block_sums += gradient_output[at] * vec2(normal, 1.0);
        }
        sums += block_sums;
    }
    let gamma = reduce_sum(thread, sums.x);
    let beta = reduce_sum(thread, sums.y);
    if thread == 0u {
        gradient_gamma[slot] = gamma;
        gradient_beta[slot] = beta;
    }
}
