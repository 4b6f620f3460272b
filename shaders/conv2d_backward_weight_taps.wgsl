// conv2d_backward_weight: gw[o, i, kh, kw] = sum over n, y, x of gy[n, o, y, x] * x[n, i, y + kh - pad, x + kw - pad]
// Bindings and loaders for core/taps.wgsl.
// Writes partial sums; conv2d_backward_weight_sum.wgsl adds them in a fixed order.

// Tensors are bound as vec4: the binding must cover their length rounded up to 4 floats.
@group(0) @binding(0) var<storage, read> gradient_output: array<vec4<Gradient>>; // (N, OC, OH, OW)
@group(0) @binding(1) var<storage, read> input: array<vec4<Input>>;              // (N, IC, IH, IW)
// (splits, kw chunks, channel tiles, row tiles, 16 channels, TAPS, 8 rows); with ROW_SUMS (channel tiles, 16 channels) behind
// each split
@group(0) @binding(2) var<storage, read_write> partial_sums: array<vec4<f32>>;
@group(0) @binding(3) var<uniform> params: Params;

override KERNEL_H: u32 = 3u;
override KERNEL_W: u32 = 3u;
override PAD_TOP: u32 = 1u;
override PAD_LEFT: u32 = 1u;
// in_width % 4 == 0: a block is then one vec4.
override INPUT_VEC4: bool = false;

// Columns 4 * block .. 4 * block + 3 of one row, zero beyond its end. Called under a lane mask: inactive
// lanes cost nothing.
fn load_input(row: u32, block: u32) -> vec4<f32> {
    let x = block * 4u;
    let i = row * params.in_width + x;
    if INPUT_VEC4 { return vec4<f32>(input[i / 4u]); }
    var v = vec4(f32(input[i / 4u][i % 4u]), 0.0, 0.0, 0.0);
    if x + 1u < params.in_width { v.y = f32(input[(i + 1u) / 4u][(i + 1u) % 4u]); }
    if x + 2u < params.in_width { v.z = f32(input[(i + 2u) / 4u][(i + 2u) % 4u]); }
    if x + 3u < params.in_width { v.w = f32(input[(i + 3u) / 4u][(i + 3u) % 4u]); }
    return v;
}
