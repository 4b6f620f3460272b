// The gradients of the weights: the sums over a channel of x * gy but where x > 0. A workgroup per channel
// and part of its values. Where there are several parts, reduce_parts.wgsl adds them.

@group(0) @binding(0) var<storage, read> input: array<vec4<Input>>;         // (N, C, plane)
@group(0) @binding(1) var<storage, read> gradient_output: array<vec4<f32>>; // (N, C, plane)
@group(0) @binding(2) var<storage, read_write> gradient_weight: array<f32>; // (parts, C)
@group(0) @binding(3) var<uniform> params: Params;

struct Params {
    batch: u32,
    channels: u32,
    plane: u32, // in vectors of four with PLANE_VEC4
    parts: u32,
}

@compute @workgroup_size(INVOCATIONS)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let slot = flat_group(group); // part * channels + channel
    let channel = slot % params.channels;
    if slot / params.channels >= params.parts { return; }
    let part = part_of(params.batch * params.plane, params.parts, slot / params.channels);
    var sum = vec4<f32>();
    var place = place_of(part.x + thread, params.plane);
    for (var block = part.x + thread; block < part.y; block += block_len()) {
        let end = min(block + block_len(), part.y);
        var block_sum = vec4<f32>();
        for (var i = block; i < end; i += INVOCATIONS) {
            let at = index_of(place, channel, params.channels, params.plane);
            place = next_place(place, params.plane);
            if PLANE_VEC4 {
                let x = vec4<f32>(input[at]);
                let gradient = gradient_output[at];
                block_sum += vec4(
                    product(x.x, gradient.x),
                    product(x.y, gradient.y),
                    product(x.z, gradient.z),
                    product(x.w, gradient.w),
                );
            } else {
                block_sum.x += product(f32(input[at / 4u][at % 4u]), gradient_output[at / 4u][at % 4u]);
            }
        }
        sum += block_sum;
    }
    let total = reduce_sum(thread, sum_of(sum));
    if thread == 0u { gradient_weight[slot] = total; }
}

// x * gy but where x > 0.
fn product(x: f32, gradient: f32) -> f32 {
    let positive = bitcast<i32>(x) > 0 && !is_nan(x);
    return select(x * gradient, 0.0, positive);
}
