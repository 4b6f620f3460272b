// conv2d_backward_weight with any stride and dilation:
// gw[o, i, kh, kw] = sum over n, y, x of gy[n, o, y, x] * x[n, i, y * stride + kh * dilation - pad, ..]
// Bindings and loaders for core/strided_taps.wgsl.
// Writes partial sums; conv2d_backward_weight_sum.wgsl adds them in a fixed order.

// Bound as vec4: the binding must cover its length rounded up to 4 floats.
@group(0) @binding(0) var<storage, read> gradient_output: array<vec4<Gradient>>; // (N, OC, OH, OW)
@group(0) @binding(1) var<storage, read> input: array<Input>;                    // (N, IC, IH, IW)
// (splits, kw chunks, channel tiles, row tiles, 16 channels, TAPS, 8 rows); with ROW_SUMS (channel tiles, 16 channels) behind
// each split
@group(0) @binding(2) var<storage, read_write> partial_sums: array<vec4<f32>>;
@group(0) @binding(3) var<uniform> params: Params;

fn load_pixel(row: u32, x: u32) -> f32 {
    return f32(input[row * params.in_width + x]);
}
