// Convolution as a product: M output channels of a group, N pixels of all images, K input channels of the group
// for all taps. A is the weights, B the input patch that a tap meets. A very long sum over
// taps is split into parts, each written to its own slab, which reduce_parts.wgsl then adds in order.

@group(0) @binding(0) var<storage, read> input: array<Input>;         // (N, C, H, W)
@group(0) @binding(1) var<storage, read> weight: array<vec4<Weight>>; // packed
@group(0) @binding(2) var<storage, read> bias: array<f32>;            // (O)
@group(0) @binding(3) var<storage, read> saved: array<Saved>;         // (N, O, OH, OW)
@group(0) @binding(4) var<storage, read_write> output: array<Output>; // (parts, N, O, OH, OW)
@group(0) @binding(5) var<uniform> params: Params;

override HAS_BIAS: bool = false;

// Where an output pixel's window begins: in the first input plane of its group, and in memory.
struct Column { y: i32, x: i32, first: i32 }
// Where a tap lies in the window.
struct Tap { y: u32, x: u32 }

// A slice is a part of a group: slice = group * parts + part.
fn product_size(slice: u32) -> Size {
    let pixels = params.batch * params.out_height * params.out_width;
    let taps = params.in_channels * KERNEL_H * KERNEL_W;
    let range = part_of(taps, params.parts, slice % params.parts);
    return Size(params.out_channels, pixels, range.x, range.y);
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

fn product_channels() -> u32 {
    return params.in_channels;
}

fn product_plane() -> u32 {
    return params.in_height * params.in_width;
}

fn product_tap(tap: u32) -> Tap {
    return Tap(tap / KERNEL_W * DILATION_H, tap % KERNEL_W * DILATION_W);
}

fn packed_tap(slice: u32, tap: u32) -> u32 {
    return slice / params.parts * KERNEL_H * KERNEL_W + tap;
}

fn tap_place(column: Column, tap: Tap) -> u32 {
    // Above and left of the image the sums wrap to large numbers.
    let inside = (u32(column.y) + tap.y < params.in_height) & (u32(column.x) + tap.x < params.in_width);
    return select(OUTSIDE, u32(column.first) + tap.y * params.in_width + tap.x, inside);
}

fn load_element(at: u32) -> f32 {
    return f32(input[at]);
}

fn store_c(slice: u32, m: u32, pixel: u32, value: f32) {
    let plane = params.out_height * params.out_width;
    let channel = slice / params.parts * params.out_channels + m;
    let image = slice % params.parts * params.batch + pixel / plane;
    var result = value;
    if HAS_BIAS { result += bias[channel]; }
    store((image * params.groups * params.out_channels + channel) * plane + pixel % plane, result);
}
