// The bias gradient: the output gradient summed over images and pixels. A workgroup per channel and
// part of the images; its invocations take every 64th vector or value each.

@group(0) @binding(0) var<storage, read> gradient_output: array<vec4<f32>>; // (N, C, plane)
@group(0) @binding(1) var<storage, read_write> gradient_bias: array<f32>;   // (parts, C)
@group(0) @binding(2) var<uniform> params: Params;

struct Params {
    batch: u32,
    channels: u32,
    plane: u32,
    batch_per_part: u32,
}

// plane % 4 == 0
override PLANE_VEC4: bool = false;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let channel = flat_group(group);
    if channel >= params.channels { return; }
    let begin = group.z * params.batch_per_part;
    let end = min(begin + params.batch_per_part, params.batch);
    var sum = 0.0;
    for (var n = begin; n < end; n++) {
        let first = (n * params.channels + channel) * params.plane;
        if PLANE_VEC4 {
            for (var i = thread; i < params.plane / 4u; i += 64u) {
                sum += dot(gradient_output[first / 4u + i], vec4(1.0));
            }
        } else {
            for (var i = first + thread; i < first + params.plane; i += 64u) {
                sum += gradient_output[i / 4u][i % 4u];
            }
        }
    }
    let total = workgroup_sum(thread, sum);
    if thread == 0u { gradient_bias[group.z * params.channels + channel] = total; }
}
