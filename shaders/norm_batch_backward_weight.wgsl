// The gradients of gamma and beta: the sums over a channel of gy * x^ and of gy, where
// x^ = (x - mean) * inverse deviation. Mean and deviation are those of the channel, in evaluation its running
// estimates; of layer normalisation over the channels, with BY_POSITION, they are those of each position. A
// workgroup per channel and part of its values. Where there are several parts, reduce_parts.wgsl adds them.

@group(0) @binding(0) var<storage, read> input: array<vec4<Input>>;        // (N, C, plane)
@group(0) @binding(1) var<storage, read> given: array<vec4<Given>>;        // (N, C, plane), see core/gradient.wgsl
// (C, 2) or with BY_POSITION (N, plane, 2): mean, 1 / deviation
@group(0) @binding(2) var<storage, read> statistics: array<f32>;
@group(0) @binding(3) var<storage, read> running_mean: array<f32>;         // (C), in evaluation
@group(0) @binding(4) var<storage, read> running_variance: array<f32>;     // (C), in evaluation
@group(0) @binding(5) var<storage, read_write> gradient_gamma: array<f32>; // (parts, C)
@group(0) @binding(6) var<storage, read_write> gradient_beta: array<f32>;  // (parts, C)
@group(0) @binding(7) var<uniform> params: Params;

struct Params {
    batch: u32,
    channels: u32,
    plane: u32, // in vectors of four with PLANE_VEC4
    parts: u32,
    epsilon: f32,
}

override TRAINING: bool = true;
override BY_POSITION: bool = false; // without PLANE_VEC4

@compute @workgroup_size(INVOCATIONS)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let slot = flat_group(group); // part * channels + channel
    let channel = slot % params.channels;
    if slot / params.channels >= params.parts { return; }
    let part = part_of(params.batch * params.plane, params.parts, slot / params.channels);
    var mean: f32;
    var inverse: f32;
    if !TRAINING {
        mean = running_mean[channel];
        inverse = 1.0 / sqrt(running_variance[channel] + params.epsilon);
    } else if !BY_POSITION {
        mean = statistics[2u * channel];
        inverse = statistics[2u * channel + 1u];
    }
    var gammas = vec4<f32>();
    var betas = vec4<f32>();
    var place = place_of(part.x + thread, params.plane);
    for (var block = part.x + thread; block < part.y; block += block_len()) {
        let end = min(block + block_len(), part.y);
        var block_gammas = vec4<f32>();
        var block_betas = vec4<f32>();
        for (var i = block; i < end; i += INVOCATIONS) {
            let at = index_of(place, channel, params.channels, params.plane);
            place = next_place(place, params.plane);
            if BY_POSITION {
                mean = statistics[2u * i];
                inverse = statistics[2u * i + 1u];
            }
            if PLANE_VEC4 {
                let gradient = gradients_at(at);
                block_gammas += gradient * ((vec4<f32>(input[at]) - mean) * inverse);
                block_betas += gradient;
            } else {
                let gradient = gradient_at(at);
                block_gammas.x += gradient * ((f32(input[at / 4u][at % 4u]) - mean) * inverse);
                block_betas.x += gradient;
            }
        }
        gammas += block_gammas;
        betas += block_betas;
    }
    let total = reduce_sums(thread, vec2(sum_of(gammas), sum_of(betas)));
    if thread == 0u {
        gradient_gamma[slot] = total.x;
        gradient_beta[slot] = total.y;
    }
}
