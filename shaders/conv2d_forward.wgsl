// Convolution as a product: M output channels of a group, N pixels of all images, K taps of all
// input channels of the group. A is the weights, B the input patch that a tap meets. A very long sum over
// taps is split into parts, each written to its own slab, which reduce_parts.wgsl then adds in order.

@group(0) @binding(0) var<storage, read> input: array<Input>;         // (N, C, H, W)
@group(0) @binding(1) var<storage, read> weight: array<Weight>;       // (O, C / groups, KH, KW)
@group(0) @binding(2) var<storage, read> bias: array<f32>;            // (O)
@group(0) @binding(3) var<storage, read> saved: array<Saved>;         // (N, O, OH, OW)
@group(0) @binding(4) var<storage, read_write> output: array<Output>; // (parts, N, O, OH, OW)
@group(0) @binding(5) var<uniform> params: Params;

override HAS_BIAS: bool = false;

struct Row { first: u32 }
// Where an output pixel's window begins: in the first input plane of its group, and in memory.
struct Column { y: i32, x: i32, first: i32 }
// A tap of an input channel, which is its weight, too: where it lies in the window, and how far that is in memory.
struct Inner { k: u32, y: i32, x: i32, offset: i32 }
struct Walk { step: u32 }

// A slice is a part of a group: slice = group * parts + part.
fn product_size(slice: u32) -> Size {
    let pixels = params.batch * params.out_height * params.out_width;
    let taps = params.in_channels * KERNEL_H * KERNEL_W;
    let range = part_of(taps, params.parts, slice % params.parts);
    return Size(params.out_channels, pixels, range.x, range.y);
}

fn product_row(slice: u32, m: u32) -> Row {
    let group = slice / params.parts;
    return Row((group * params.out_channels + m) * params.in_channels * KERNEL_H * KERNEL_W);
}

fn product_column(slice: u32, pixel: u32) -> Column {
    let group = slice / params.parts;
    let x = pixel % params.out_width;
    let row = pixel / params.out_width;
    let y = row % params.out_height;
    let n = row / params.out_height;
    let plane = (n * params.groups + group) * params.in_channels;
    let top = i32(y * STRIDE_H) - i32(PAD_TOP);
    let left = i32(x * STRIDE_W) - i32(PAD_LEFT);
    let in_width = i32(params.in_width);
    return Column(top, left, i32(plane * params.in_height) * in_width + top * in_width + left);
}

fn product_inner(k: u32) -> Inner {
    let channel = k / (KERNEL_H * KERNEL_W);
    let tap = k % (KERNEL_H * KERNEL_W);
    let y = tap / KERNEL_W * DILATION_H;
    let x = tap % KERNEL_W * DILATION_W;
    let offset = (channel * params.in_height + y) * params.in_width + x;
    return Inner(k, i32(y), i32(x), i32(offset));
}

fn product_walk(step: u32) -> Walk {
    return Walk(step);
}

fn product_next(inner: Inner, walk: Walk) -> Inner {
    return product_inner(inner.k + walk.step);
}

fn load_a(row: Row, inner: Inner) -> f32 {
    return f32(weight[row.first + inner.k]);
}

fn load_b(column: Column, inner: Inner) -> f32 {
    // Above and left of the image the casts wrap to large numbers.
    let y = u32(column.y + inner.y);
    let x = u32(column.x + inner.x);
    if y >= params.in_height || x >= params.in_width { return 0.0; }
    return f32(input[column.first + inner.offset]);
}

fn store_c(slice: u32, m: u32, pixel: u32, value: f32) {
    let plane = params.out_height * params.out_width;
    let channel = slice / params.parts * params.out_channels + m;
    let image = slice % params.parts * params.batch + pixel / plane;
    var result = value;
    if HAS_BIAS { result += bias[channel]; }
    store((image * params.groups * params.out_channels + channel) * plane + pixel % plane, result);
}
