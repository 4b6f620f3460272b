// The input gradient of a convolution with few channels in a group, gathered: an invocation per
// input pixel adds up what each tap of its phase carries back to it, in each filter.

@group(0) @binding(0) var<storage, read> gradient_output: array<Gradient>; // (N, O, OH, OW)
@group(0) @binding(1) var<storage, read> weight: array<Weight>;            // (O, C / groups, KH, KW)
@group(0) @binding(2) var<storage, read> bias: array<f32>;                 // (C), of a transpose convolution
@group(0) @binding(3) var<storage, read> saved: array<Saved>;              // (N, C, H, W)
@group(0) @binding(4) var<storage, read_write> output: array<Output>;      // (N, C, H, W)
@group(0) @binding(5) var<uniform> params: Params;

override HAS_BIAS: bool = false;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let at = flat_index(group, 64u, thread);
    let x = at % params.in_width;
    let row = at / params.in_width;
    let y = row % params.in_height;
    let plane = row / params.in_height;
    let channels = params.groups * params.in_channels;
    let channel = plane % channels;
    let n = plane / channels;
    if n >= params.batch { return; }
    let first_channel = channel / params.in_channels * params.out_channels;
    let first_y = first_tap((y + PAD_TOP) % STRIDE_H, STRIDE_H, DILATION_H, min(PERIOD_H, KERNEL_H));
    let first_x = first_tap((x + PAD_LEFT) % STRIDE_W, STRIDE_W, DILATION_W, min(PERIOD_W, KERNEL_W));
    var sum = 0.0;
    if HAS_BIAS { sum = bias[channel]; }
    for (var o = first_channel; o < first_channel + params.out_channels; o++) {
        let base = (n * params.groups * params.out_channels + o) * params.out_height;
        let taps = (o * params.in_channels + channel % params.in_channels) * KERNEL_H * KERNEL_W;
        for (var ky = first_y; ky < KERNEL_H; ky += PERIOD_H) {
            let oy = (y + PAD_TOP - ky * DILATION_H) / STRIDE_H; // large above the first output
            if oy < params.out_height {
                for (var kx = first_x; kx < KERNEL_W; kx += PERIOD_W) {
                    let ox = (x + PAD_LEFT - kx * DILATION_W) / STRIDE_W;
                    if ox < params.out_width {
                        sum += f32(weight[taps + ky * KERNEL_W + kx])
                            * f32(gradient_output[(base + oy) * params.out_width + ox]);
                    }
                }
            }
        }
    }
    store(at, sum);
}
