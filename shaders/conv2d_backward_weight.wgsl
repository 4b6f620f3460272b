// The weight gradient of a convolution as a product: M output channels of a group, N taps of all
// input channels of the group, K output pixels of all images. A is the output gradient, B the input
// patch. The long sum over pixels is split into parts, each written to its own slab, which
// reduce_parts.wgsl then adds in order.

@group(0) @binding(0) var<storage, read> gradient_output: array<Gradient>;  // (N, O, OH, OW)
@group(0) @binding(1) var<storage, read> input: array<Input>;               // (N, C, H, W)
@group(0) @binding(2) var<storage, read_write> gradient_weight: array<f32>; // (parts, O, C / groups, KH, KW)
@group(0) @binding(3) var<uniform> params: Params;

// The plane of an output channel in memory, from that of an image on.
struct Row { plane: u32 }
// A tap of an input channel: where it begins in its plane, and in memory from an image's planes on.
struct Column { y: i32, x: i32, first: i32 }
// An output pixel of an image: its gradient, where its window begins in a plane, and in memory.
struct Inner { gradient: u32, y: i32, x: i32, first: i32 }

// A slice is a part of a group: slice = group * parts + part.
fn product_size(slice: u32) -> Size {
    let pixels = params.batch * params.out_height * params.out_width;
    let range = part_of(pixels, params.parts, slice % params.parts);
    return Size(params.out_channels, params.in_channels * KERNEL_H * KERNEL_W, range.x, range.y);
}

fn product_row(slice: u32, m: u32) -> Row {
    let channel = slice / params.parts * params.out_channels + m;
    return Row(channel * params.out_height * params.out_width);
}

fn product_column(slice: u32, n: u32) -> Column {
    let tap = n % (KERNEL_H * KERNEL_W);
    let channel = slice / params.parts * params.in_channels + n / (KERNEL_H * KERNEL_W);
    let y = i32(tap / KERNEL_W * DILATION_H) - i32(PAD_TOP);
    let x = i32(tap % KERNEL_W * DILATION_W) - i32(PAD_LEFT);
    let in_width = i32(params.in_width);
    return Column(y, x, i32(channel * params.in_height) * in_width + y * in_width + x);
}

fn product_inner(pixel: u32) -> Inner {
    let row = pixel / params.out_width;
    let n = row / params.out_height;
    let y = row % params.out_height * STRIDE_H;
    let x = pixel % params.out_width * STRIDE_W;
    let plane = params.out_height * params.out_width;
    let gradient = n * params.groups * params.out_channels * plane + pixel % plane;
    let image = n * params.groups * params.in_channels * params.in_height;
    return Inner(gradient, i32(y), i32(x), i32((image + y) * params.in_width + x));
}

fn load_a(row: Row, inner: Inner) -> f32 {
    return f32(gradient_output[row.plane + inner.gradient]);
}

fn load_b(column: Column, inner: Inner) -> f32 {
    // Above and left of the image the casts wrap to large numbers.
    let y = u32(column.y + inner.y);
    let x = u32(column.x + inner.x);
    if y >= params.in_height || x >= params.in_width { return 0.0; }
    return f32(input[column.first + inner.first]);
}

fn store_c(slice: u32, m: u32, n: u32, value: f32) {
    let group = slice / params.parts;
    let part = slice % params.parts;
    let row = (part * params.groups + group) * params.out_channels + m;
    gradient_weight[row * params.in_channels * KERNEL_H * KERNEL_W + n] = value;
}
