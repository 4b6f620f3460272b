// conv2d_backward_weight with any stride and dilation:
// gw[o, i, kh, kw] = sum over n, y, x of gy[n, o, y, x] * x[n, i, y * stride + kh * dilation - pad, ..]
// Bindings and loaders for core/gather_taps.wgsl.
// Writes partial sums; conv2d_backward_weight_sum.wgsl adds them in a fixed order.

// Bound as vec4: the binding must cover its length rounded up to 4 floats.
@group(0) @binding(0) var<storage, read> gradient_output: array<vec4<Gradient>>; // (N, OC, OH, OW)
@group(0) @binding(1) var<storage, read> input: array<Input>;                    // (N, IC, IH, IW)
// (splits, kw chunks, channel tiles, row tiles, 16 channels, TAPS, 8 rows)
@group(0) @binding(2) var<storage, read_write> partial_sums: array<vec4<f32>>;

struct Params {
    batch: u32,
    in_channels: u32,
    in_height: u32,
    in_width: u32,
    out_channels: u32,
    out_height: u32,
    out_width: u32,
    rows_per_split: u32, // of the batch * out_height rows of gradient_output
}
@group(0) @binding(3) var<uniform> params: Params;

override KERNEL_H: u32 = 1u;
override KERNEL_W: u32 = 1u;
override STRIDE_H: u32 = 1u;
override STRIDE_W: u32 = 1u;
override PAD_TOP: u32 = 0u;
override PAD_LEFT: u32 = 0u;
override DILATION_H: u32 = 1u;
override DILATION_W: u32 = 1u;
// out_width % 4 == 0: a block is then one vec4.
override OUTPUT_VEC4: bool = false;

// Columns 4 * block .. 4 * block + 3 of one row, zero beyond its end.
fn load_gradient_output(row: u32, block: u32) -> vec4<f32> {
    let x = block * 4u;
    let i = row * params.out_width + x;
    if OUTPUT_VEC4 { return vec4<f32>(gradient_output[i / 4u]); }
    var v = vec4(f32(gradient_output[i / 4u][i % 4u]), 0.0, 0.0, 0.0);
    if x + 1u < params.out_width { v.y = f32(gradient_output[(i + 1u) / 4u][(i + 1u) % 4u]); }
    if x + 2u < params.out_width { v.z = f32(gradient_output[(i + 2u) / 4u][(i + 2u) % 4u]); }
    if x + 3u < params.out_width { v.w = f32(gradient_output[(i + 3u) / 4u][(i + 3u) % 4u]); }
    return v;
}

fn load_pixel(row: u32, x: u32) -> f32 {
    return f32(input[row * params.in_width + x]);
}
