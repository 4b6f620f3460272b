// The gradients of the weights: the sums over a channel of x * gy but where x > 0. A workgroup per channel
// and part of its values. Where there are several parts, reduce_parts.wgsl adds them.

@group(0) @binding(0) var<storage, read> input: array<Input>;               // (N, C, plane)
@group(0) @binding(1) var<storage, read> gradient_output: array<f32>;       // (N, C, plane)
@group(0) @binding(2) var<storage, read_write> gradient_weight: array<f32>; // (parts, C)
@group(0) @binding(3) var<uniform> params: Params;

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
    var sum = 0.0;
    for (var block = part.x + thread; block < part.y; block += BLOCK) {
        let end = min(block + BLOCK, part.y);
        var block_sum = 0.0;
        for (var i = block; i < end; i += 64u) {
            let at = (i / params.plane * params.channels + channel) * params.plane + i % params.plane;
            let x = f32(input[at]);
            let positive = bitcast<i32>(x) > 0 && !is_nan(x);
            block_sum += select(x * gradient_output[at], 0.0, positive);
        }
        sum += block_sum;
    }
    let total = reduce_sum(thread, sum);
    if thread == 0u { gradient_weight[slot] = total; }
}
