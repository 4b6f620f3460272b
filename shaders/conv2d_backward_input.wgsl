// The input gradient of a convolution, which is a transpose convolution, as a product: M input
// channels of a group, N input pixels of all images, K taps of all output channels of the group.
// A is the weights with the channels' roles swapped; B is the output gradient where a tap of the
// filter reached the pixel from, and zero where no output did (between strides, beyond the edges). A very
// long sum is split as in conv2d_forward.wgsl.

@group(0) @binding(0) var<storage, read> gradient_output: array<Gradient>; // (N, O, OH, OW)
@group(0) @binding(1) var<storage, read> weight: array<Weight>;            // (O, C / groups, KH, KW)
@group(0) @binding(2) var<storage, read> bias: array<f32>;                 // (C), of a transpose convolution
@group(0) @binding(3) var<storage, read> saved: array<Saved>;              // (N, C, H, W)
@group(0) @binding(4) var<storage, read_write> output: array<Output>;      // (parts, N, C, H, W)
@group(0) @binding(5) var<uniform> params: Params;

override HAS_BIAS: bool = false;

struct Row { first: u32 }
// The first gradient plane of a pixel's group, the pixel's place in the padded input, and the gradient there in
// memory, where outputs are as far apart as pixels.
struct Column { plane: u32, y: u32, x: u32, first: u32 }
// A tap of an output channel: its weight, its plane, and how far back it takes a pixel.
struct Inner { k: u32, weight: u32, plane: u32, y: u32, x: u32, offset: u32 }
struct Walk { step: u32 }

// A slice is a part of a group: slice = group * parts + part.
fn product_size(slice: u32) -> Size {
    let pixels = params.batch * params.in_height * params.in_width;
    let taps = params.out_channels * KERNEL_H * KERNEL_W;
    let range = part_of(taps, params.parts, slice % params.parts);
    return Size(params.in_channels, pixels, range.x, range.y);
}

fn product_row(slice: u32, m: u32) -> Row {
    let group = slice / params.parts;
    return Row((group * params.out_channels * params.in_channels + m) * KERNEL_H * KERNEL_W);
}

fn product_column(slice: u32, pixel: u32) -> Column {
    let group = slice / params.parts;
    let x = pixel % params.in_width;
    let row = pixel / params.in_width;
    let y = row % params.in_height;
    let n = row / params.in_height;
    let plane = (n * params.groups + group) * params.out_channels;
    let first = (plane * params.out_height + y + PAD_TOP) * params.out_width + x + PAD_LEFT;
    return Column(plane, y + PAD_TOP, x + PAD_LEFT, first);
}

fn product_inner(k: u32) -> Inner {
    let channel = k / (KERNEL_H * KERNEL_W);
    let tap = k % (KERNEL_H * KERNEL_W);
    let y = tap / KERNEL_W * DILATION_H;
    let x = tap % KERNEL_W * DILATION_W;
    let offset = (channel * params.out_height - y) * params.out_width - x;
    let weight = channel * params.in_channels * KERNEL_H * KERNEL_W + tap;
    return Inner(k, weight, channel, y, x, offset);
}

fn product_walk(step: u32) -> Walk {
    return Walk(step);
}

fn product_next(inner: Inner, walk: Walk) -> Inner {
    return product_inner(inner.k + walk.step);
}

fn load_a(row: Row, inner: Inner) -> f32 {
    return f32(weight[row.first + inner.weight]);
}

fn load_b(column: Column, inner: Inner) -> f32 {
    // Above and left of the first output the differences wrap to large numbers.
    let back_y = column.y - inner.y;
    let back_x = column.x - inner.x;
    let y = back_y / STRIDE_H;
    let x = back_x / STRIDE_W;
    if back_y % STRIDE_H + back_x % STRIDE_W != 0u { return 0.0; }
    if y >= params.out_height || x >= params.out_width { return 0.0; }
    if STRIDE_H == 1u && STRIDE_W == 1u { return f32(gradient_output[column.first + inner.offset]); }
    let plane = column.plane + inner.plane;
    return f32(gradient_output[(plane * params.out_height + y) * params.out_width + x]);
}

fn store_c(slice: u32, m: u32, pixel: u32, value: f32) {
    let plane = params.in_height * params.in_width;
    let channel = slice / params.parts * params.in_channels + m;
    let image = slice % params.parts * params.batch + pixel / plane;
    var result = value;
    if HAS_BIAS { result += bias[channel]; }
    store((image * params.groups * params.in_channels + channel) * plane + pixel % plane, result);
}
