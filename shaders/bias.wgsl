// The bias gradient: the output gradient summed over images and pixels. A workgroup per channel and
// part of its values; its invocations take every 64th of them each and are then added as a tree,
// always in the same order. Where there are several parts, sum_parts.wgsl adds them.

@group(0) @binding(0) var<storage, read> gradient_output: array<f32>; // (N, C, plane)
@group(0) @binding(1) var<storage, read_write> gradient_bias: array<f32>; // (parts, C)
@group(0) @binding(2) var<uniform> params: Params;

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
    let part = slot / params.channels;
    var sum = 0.0;
    if part < params.parts {
        let values = params.batch * params.plane;
        let length = (values + params.parts - 1u) / params.parts;
        let end = min((part + 1u) * length, values);
        // Divided once: from then on image and pixel advance by 64 values at a time.
        let first = part * length + thread;
        let images = 64u / params.plane;
        let pixels = 64u % params.plane;
        var n = first / params.plane;
        var pixel = first % params.plane;
        for (var i = first; i < end; i += 64u) {
            sum += gradient_output[(n * params.channels + channel) * params.plane + pixel];
            n += images;
            pixel += pixels;
            if pixel >= params.plane {
                pixel -= params.plane;
                n += 1u;
            }
        }
    }
    sum = reduce_sum(thread, sum);
    if thread == 0u && part < params.parts { gradient_bias[slot] = sum; }
}
