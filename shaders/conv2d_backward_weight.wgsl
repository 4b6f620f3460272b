// The weight gradient of a convolution as a product: M output channels of a group, N taps of all
// input channels of the group, K output pixels of all images. A is the output gradient, B the input
// patch. The long sum over pixels is split into parts, each written to its own slab, which
// reduce_parts.wgsl then adds in order. The sums of A's rows are the gradient of the bias,
// which is behind the weights' in each slab.

@group(0) @binding(0) var<storage, read> gradient_output: array<Gradient>;  // (N, O, OH, OW)
@group(0) @binding(1) var<storage, read> input: array<Input>;               // (N, C, H, W)
@group(0) @binding(2) var<storage, read_write> gradient_weight: array<f32>; // (parts, O, C / groups, KH, KW), and (O)
@group(0) @binding(3) var<storage, read_write> gradient_bias: array<f32>;   // (O), of one part
@group(0) @binding(4) var<uniform> params: Params;

override ROW_SUMS: bool = false;

// The plane of an output channel in memory, from that of an image on.
struct Row { plane: u32 }
// A tap of an input channel: where it begins in its plane, and in memory from an image's planes on.
struct Column { y: i32, x: i32, first: i32 }
// An output pixel of all images: where it is in its image, its gradient, and where its window begins in memory.
struct Inner { k: u32, y: u32, x: u32, gradient: u32, first: u32 }
// How far a step takes a pixel: along each axis, and in memory. What going on in the next row, or in the next image,
// adds to that.
struct Walk {
    step: u32,
    y: u32,
    x: u32,
    gradient: u32,
    first: u32,
    row_first: u32,
    image_gradient: u32,
    image_first: u32,
}

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
    let y = row % params.out_height;
    let x = pixel % params.out_width;
    let plane = params.out_height * params.out_width;
    let gradient = n * params.groups * params.out_channels * plane + pixel % plane;
    let image = n * params.groups * params.in_channels * params.in_height;
    return Inner(pixel, y, x, gradient, (image + y * STRIDE_H) * params.in_width + x * STRIDE_W);
}

// A pixel and a step are numbers of three digits: image, row and column.
fn product_step(step: u32) -> Walk {
    let of_step = product_inner(step);
    let row = STRIDE_H * params.in_width;
    let image = params.groups * params.in_channels * params.in_height * params.in_width;
    return Walk(
        step,
        of_step.y,
        of_step.x,
        of_step.gradient,
        of_step.first,
        row - params.out_width * STRIDE_W,
        (params.groups * params.out_channels - 1u) * params.out_height * params.out_width,
        image - params.out_height * row,
    );
}

// Their sum: each digit carries once at most.
fn product_after(inner: Inner, walk: Walk) -> Inner {
    let x = inner.x + walk.x;
    let row = x >= params.out_width;
    let y = inner.y + walk.y + u32(row);
    let image = y >= params.out_height;
    return Inner(
        inner.k + walk.step,
        select(y, y - params.out_height, image),
        select(x, x - params.out_width, row),
        inner.gradient + walk.gradient + select(0u, walk.image_gradient, image),
        inner.first + walk.first + select(0u, walk.row_first, row) + select(0u, walk.image_first, image),
    );
}

fn load_a(row: Row, inner: Inner) -> f32 {
    return f32(gradient_output[row.plane + inner.gradient]);
}

fn load_b(column: Column, inner: Inner) -> f32 {
    // Above and left of the image the casts wrap to large numbers.
    let y = u32(column.y + i32(inner.y * STRIDE_H));
    let x = u32(column.x + i32(inner.x * STRIDE_W));
    if y >= params.in_height || x >= params.in_width { return 0.0; }
    return f32(input[u32(column.first) + inner.first]);
}

// Elements of the weights' gradient.
fn weights() -> u32 {
    return params.groups * params.out_channels * params.in_channels * KERNEL_H * KERNEL_W;
}

// Where the slab of a slice's part begins.
fn slab_of(slice: u32) -> u32 {
    return slice % params.parts * (weights() + select(0u, params.groups * params.out_channels, ROW_SUMS));
}

fn store_c(slice: u32, m: u32, n: u32, value: f32) {
    let row = slice / params.parts * params.out_channels + m;
    gradient_weight[slab_of(slice) + row * params.in_channels * KERNEL_H * KERNEL_W + n] = value;
}

fn store_row_sum(slice: u32, m: u32, value: f32) {
    let channel = slice / params.parts * params.out_channels + m;
    if params.parts == 1u {
        gradient_bias[channel] = value;
    } else {
        gradient_weight[slab_of(slice) + weights() + channel] = value;
    }
}
