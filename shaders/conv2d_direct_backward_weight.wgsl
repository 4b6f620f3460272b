// The weight gradient of a convolution with few channels in a group: a workgroup per weight and part of
// its products over all images and output pixels. Where there are several parts, reduce_parts.wgsl adds
// them.

@group(0) @binding(0) var<storage, read> gradient_output: array<Gradient>;  // (N, O, OH, OW)
@group(0) @binding(1) var<storage, read> input: array<Input>;               // (N, C, H, W)
@group(0) @binding(2) var<storage, read_write> gradient_weight: array<f32>; // (parts, O, C / groups, KH, KW)
@group(0) @binding(3) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let outputs = params.groups * params.out_channels;
    let weights = outputs * params.in_channels * KERNEL_H * KERNEL_W;
    let slot = flat_group(group); // part * weights + weight
    if slot / weights >= params.parts { return; }
    let at = slot % weights;
    let tap = at % (KERNEL_H * KERNEL_W);
    let filter_plane = at / (KERNEL_H * KERNEL_W);
    let o = filter_plane / params.in_channels;
    let c = o / params.out_channels * params.in_channels + filter_plane % params.in_channels;
    let ky = tap / KERNEL_W * DILATION_H;
    let kx = tap % KERNEL_W * DILATION_W;
    let plane = params.out_height * params.out_width;
    let part = part_of(params.batch * plane, params.parts, slot / weights);
    var sum = 0.0;
    for (var block = part.x + thread; block < part.y; block += BLOCK) {
        let end = min(block + BLOCK, part.y);
        var block_sum = 0.0;
        for (var i = block; i < end; i += 64u) {
            let n = i / plane;
            let pixel = i % plane;
            let iy = pixel / params.out_width * STRIDE_H + ky - PAD_TOP; // wraps above the plane
            let ix = pixel % params.out_width * STRIDE_W + kx - PAD_LEFT;
            // The padding's zeros are factors too, as in PyTorch: they make NaN of an infinite gradient.
            var x = 0.0;
            if iy < params.in_height && ix < params.in_width {
                let base = (n * params.groups * params.in_channels + c) * params.in_height + iy;
                x = f32(input[base * params.in_width + ix]);
            }
            block_sum += f32(gradient_output[(n * outputs + o) * plane + pixel]) * x;
        }
        sum += block_sum;
    }
    let total = reduce_sum(thread, sum);
    if thread == 0u { gradient_weight[slot] = total; }
}
