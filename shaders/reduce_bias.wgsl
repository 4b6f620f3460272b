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

override PLANE_VEC4: bool = false;

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
    // Divided once: from then on image and pixel advance by 64 values at a time.
    let first = range.x + thread;
    let images = 64u / params.plane;
    let pixels = 64u % params.plane;
    var n = first / params.plane;
    var pixel = first % params.plane;
    var sum = 0.0;
    for (var block = first; block < range.y; block += BLOCK) {
        let end = min(block + BLOCK, range.y);
        var block_sum = 0.0;
        for (var i = block; i < end; i += 64u) {
            let at = (n * params.channels + channel) * params.plane + pixel;
            if PLANE_VEC4 {
                block_sum += dot(gradient_output[at], vec4(1.0));
            } else {
                block_sum += gradient_output[at / 4u][at % 4u];
            }
            n += images;
            pixel += pixels;
            if pixel >= params.plane {
                pixel -= params.plane;
                n += 1u;
            }
        }
        sum += block_sum;
    }
    let total = reduce_sum(thread, sum);
    if thread == 0u { gradient_bias[slot] = total; }
}
