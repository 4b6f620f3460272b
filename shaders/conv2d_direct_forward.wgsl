// Convolution with few channels in a group, depthwise above all, where a product has no rows to
// share: an invocation computes one output from its window.

@group(0) @binding(0) var<storage, read> input: array<Input>;         // (N, C, H, W)
@group(0) @binding(1) var<storage, read> weight: array<Weight>;       // (O, C / groups, KH, KW)
@group(0) @binding(2) var<storage, read> bias: array<f32>;            // (O)
@group(0) @binding(3) var<storage, read> saved: array<Saved>;         // (N, O, OH, OW)
@group(0) @binding(4) var<storage, read_write> output: array<Output>; // (N, O, OH, OW)
@group(0) @binding(5) var<uniform> params: Params;

override HAS_BIAS: bool = false;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let at = flat_index(group, 64u, thread);
    let x = at % params.out_width;
    let row = at / params.out_width;
    let y = row % params.out_height;
    let plane = row / params.out_height;
    let channels = params.groups * params.out_channels;
    let channel = plane % channels;
    let n = plane / channels;
    if n >= params.batch { return; }
    let first_plane = (n * params.groups + channel / params.out_channels) * params.in_channels;
    var sum = 0.0;
    if HAS_BIAS { sum = bias[channel]; }
    let in_channels = loop_bound(params.in_channels, group);
    for (var c = 0u; c < in_channels; c++) {
        let base = (first_plane + c) * params.in_height * params.in_width;
        let taps = (channel * params.in_channels + c) * KERNEL_H * KERNEL_W;
        for (var ky = 0u; ky < KERNEL_H; ky++) {
            let iy = y * STRIDE_H + ky * DILATION_H - PAD_TOP; // wraps to a large number above the plane
            for (var kx = 0u; kx < KERNEL_W; kx++) {
                let ix = x * STRIDE_W + kx * DILATION_W - PAD_LEFT;
                // The padding's zeros are factors too, as in PyTorch.
                var pixel = 0.0;
                if iy < params.in_height && ix < params.in_width {
                    pixel = f32(input[base + iy * params.in_width + ix]);
                }
                sum += f32(weight[taps + ky * KERNEL_W + kx]) * pixel;
            }
        }
    }
    store(at, sum);
}
