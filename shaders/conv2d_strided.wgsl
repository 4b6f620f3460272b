// Convolution with any stride and dilation by strips of pixels: bindings, loaders and store for
// core/strided.wgsl.
//
// One kernel serves two operations, with packed weights:
//   conv2d forward          input = x,  output = y,  PAD = padding
//   conv2d backward input   input = gy, output = gx, PAD = dilation * (kernel - 1) - padding
// `in_*` and `out_*` are those of the convolution that runs here, so for backward input
// `in_channels` is the layer's number of output channels.

@group(0) @binding(0) var<storage, read> input: array<Input>;                // (N, IC, IH, IW)
// The others are bound as vec4: the binding must cover their length rounded up to 4 floats.
@group(0) @binding(1) var<storage, read> packed_weight: array<vec4<Packed>>; // see conv2d_pack_weight.wgsl
@group(0) @binding(2) var<storage, read> bias: array<f32>;                   // (OC), or a dummy
@group(0) @binding(3) var<storage, read> saved: array<vec4<Saved>>;          // (N, OC, OH, OW)
@group(0) @binding(4) var<storage, read_write> output: array<vec4<Output>>;  // (N, OC, OH, OW)
@group(0) @binding(5) var<uniform> params: Params;

override BACKWARD: bool = false;
override KERNEL_H: u32 = 1u;
override KERNEL_W: u32 = 1u;
override STRIDE_H: u32 = 1u;
override STRIDE_W: u32 = 1u;
override PAD_TOP: i32 = 0;
override PAD_LEFT: i32 = 0;
override DILATION_H: u32 = 1u;
override DILATION_W: u32 = 1u;
// Whether a subgroup computes 32 output channels, or 16.
override WIDE: bool = false;
// A strip is one vec4 of the output: its pixels are neighbours, and out_width % 4 == 0.
override OUTPUT_VEC4: bool = false;

fn load_pixel(row: u32, x: u32) -> f32 {
    return f32(input[row * params.in_width + x]);
}

// Stores the pixels of a strip: up to four of one output row, STEP_W apart.
fn store_output(n: u32, channel: u32, y: u32, x: u32, sum: vec4<f32>) {
    if channel >= params.out_channels { return; }
    let row = ((n * params.out_channels + channel) * params.out_height + y) * params.out_width;
    if OUTPUT_VEC4 {
        store4((row + x) / 4u, sum);
    } else {
        for (var pixel = 0u; pixel < 4u; pixel++) {
            let at = x + pixel * STEP_W;
            if at < params.out_width { store(row + at, sum[pixel]); }
        }
    }
}
