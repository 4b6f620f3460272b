// The weight gradient of a convolution as a product: M output channels of a group, N taps of all
// input channels of the group, K output pixels of all images. A is the output gradient, B the input
// patch. The long sum over pixels is split into parts, each written to its own slab, which
// sum_parts.wgsl then adds in order.

@group(0) @binding(0) var<storage, read> gradient_output: array<Gradient>;  // (N, O, OH, OW)
@group(0) @binding(1) var<storage, read> input: array<Input>;               // (N, C, H, W)
@group(0) @binding(2) var<storage, read_write> gradient_weight: array<f32>; // (parts, O, C / groups, KH, KW)
@group(0) @binding(3) var<uniform> params: Params;

struct Params {
    batch: u32,
    groups: u32,
    in_channels: u32, // of one group
    in_height: u32,
    in_width: u32,
    out_channels: u32, // of one group
    out_height: u32,
    out_width: u32,
    parts: u32,
}

override KERNEL_H: u32 = 1u;
override KERNEL_W: u32 = 1u;
override STRIDE_H: u32 = 1u;
override STRIDE_W: u32 = 1u;
override PAD_TOP: u32 = 0u;
override PAD_LEFT: u32 = 0u;
override DILATION_H: u32 = 1u;
override DILATION_W: u32 = 1u;

struct Row { channel: u32 }
// An input channel, and where a tap of the filter begins in its plane.
struct Column { channel: u32, y: i32, x: i32 }

// A slice is a part of a group: slice = group * parts + part.
fn product_size(slice: u32) -> Size {
    let pixels = params.batch * params.out_height * params.out_width;
    let part = slice % params.parts;
    let length = (pixels + params.parts - 1u) / params.parts;
    return Size(
        params.out_channels,
        params.in_channels * KERNEL_H * KERNEL_W,
        min(part * length, pixels),
        min((part + 1u) * length, pixels),
    );
}

fn product_row(slice: u32, m: u32) -> Row {
    return Row(slice / params.parts * params.out_channels + m);
}

fn product_column(slice: u32, n: u32) -> Column {
    let tap = n % (KERNEL_H * KERNEL_W);
    return Column(
        slice / params.parts * params.in_channels + n / (KERNEL_H * KERNEL_W),
        i32(tap / KERNEL_W * DILATION_H) - i32(PAD_TOP),
        i32(tap % KERNEL_W * DILATION_W) - i32(PAD_LEFT),
    );
}

fn load_a(row: Row, pixel: u32) -> f32 {
    let plane = params.out_height * params.out_width;
    let n = pixel / plane;
    let channels = params.groups * params.out_channels;
    return f32(gradient_output[(n * channels + row.channel) * plane + pixel % plane]);
}

fn load_b(column: Column, pixel: u32) -> f32 {
    let row = pixel / params.out_width;
    let n = row / params.out_height;
    let y = column.y + i32(row % params.out_height * STRIDE_H);
    let x = column.x + i32(pixel % params.out_width * STRIDE_W);
    // Above and left of the image the casts wrap to large numbers.
    if u32(y) >= params.in_height || u32(x) >= params.in_width { return 0.0; }
    let plane = n * params.groups * params.in_channels + column.channel;
    return f32(input[(plane * params.in_height + u32(y)) * params.in_width + u32(x)]);
}

fn store_c(slice: u32, m: u32, n: u32, value: f32) {
    let group = slice / params.parts;
    let part = slice % params.parts;
    let row = (part * params.groups + group) * params.out_channels + m;
    gradient_weight[row * params.in_channels * KERNEL_H * KERNEL_W + n] = value;
}
