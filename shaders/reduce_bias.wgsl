// The bias gradient: the output gradient summed over images and pixels. A workgroup per channel and
// part of its values; its invocations take every 64th of them each, four at a time where planes
// consist of whole vectors. Where there are several parts, reduce_parts.wgsl adds them.

@group(0) @binding(0) var<storage, read> gradient_output: array<vec4<f32>>; // (N, C, plane)
@group(0) @binding(1) var<storage, read_write> gradient_bias: array<f32>;   // (parts, C)
@group(0) @binding(2) var<uniform> params: Params;

struct Params {
    batch: u32,
    channels: u32,
    plane: u32, // in vectors of four with PLANE_VEC4
    parts: u32,
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let slot = flat_group(group); // part * channels + channel
    let channel = slot % params.channels;
    let part = slot / params.channels;
    if part >= params.parts { return; }
    let range = part_of(params.batch * params.plane, params.parts, part);
    var place = place_of(range.x + thread, params.plane);
    var sum = 0.0;
    for (var block = range.x + thread; block < range.y; block += BLOCK) {
        let end = min(block + BLOCK, range.y);
        var block_sum = 0.0;
        for (var i = block; i < end; i += 64u) {
            let at = index_of(place, channel, params.channels, params.plane);
            place = next_place(place, params.plane);
            if PLANE_VEC4 {
                block_sum += dot(gradient_output[at], vec4(1.0));
            } else {
                block_sum += gradient_output[at / 4u][at % 4u];
            }
        }
        sum += block_sum;
    }
    let total = reduce_sum(thread, sum);
    if thread == 0u { gradient_bias[slot] = total; }
}
