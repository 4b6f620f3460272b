// The bias gradient: the output gradient summed over images and pixels. A workgroup per channel;
// its invocations take every 64th value each and are then added as a tree, always in the same order.

@group(0) @binding(0) var<storage, read> gradient_output: array<f32>; // (N, C, plane)
@group(0) @binding(1) var<storage, read_write> gradient_bias: array<f32>; // (C)
@group(0) @binding(2) var<uniform> params: Params;

struct Params {
    batch: u32,
    channels: u32,
    plane: u32,
}

var<workgroup> sums: array<f32, 64>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let channel = flat_group(group);
    var sum = 0.0;
    if channel < params.channels {
        // Along the longer of the two axes, so that every invocation has work.
        if params.plane >= 64u {
            for (var n = 0u; n < params.batch; n++) {
                let first = (n * params.channels + channel) * params.plane;
                for (var i = thread; i < params.plane; i += 64u) { sum += gradient_output[first + i]; }
            }
        } else {
            for (var n = thread; n < params.batch; n += 64u) {
                let first = (n * params.channels + channel) * params.plane;
                for (var i = 0u; i < params.plane; i++) { sum += gradient_output[first + i]; }
            }
        }
    }
    sums[thread] = sum;
    for (var half = 32u; half > 0u; half /= 2u) {
        workgroupBarrier();
        if thread < half { sums[thread] += sums[thread + half]; }
    }
    if thread == 0u && channel < params.channels {
        var result = sums[0];
        gradient_bias[channel] = result;
    }
}
