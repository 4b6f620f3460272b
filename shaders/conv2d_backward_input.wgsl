// The input gradient of a convolution, which is a transpose convolution, as products: M input channels
// of a group, N pixels of all images, K output channels of the group for all taps. A is the weights with
// the channels' roles swapped; B is the output gradient where a tap of the filter reached the pixel from,
// and zero beyond the edges. A very long sum is split as in conv2d_forward.wgsl.
//
// With strides, a pixel is met by the taps of its phase alone (core/phases.wgsl), and each phase is a
// product with those taps. N counts blocks of STRIDE x STRIDE pixels, which have a pixel of each phase:
//
//        x x | x x | x x      STRIDE 2, 3 x 3:   phase 0,0   taps (0,0) (0,2) (2,0) (2,2)
//        x x | x x | x x                         phase 0,1   taps (0,1) (2,1)
//        ----+-----+----                         phase 1,0   taps (1,0) (1,2)
//        x x | x x | x x                         phase 1,1   tap  (1,1)
//
// FOLDED: all phases have as many taps, since STRIDE divides KERNEL, and meet the same outputs. Then they are
// rows of one product, M = channels * phases, and B is loaded once for all.

@group(0) @binding(0) var<storage, read> gradient_output: array<Gradient>; // (N, O, OH, OW)
@group(0) @binding(1) var<storage, read> weight: array<vec4<Weight>>;      // packed
@group(0) @binding(2) var<storage, read> bias: array<f32>;                 // (C), of a transpose convolution
@group(0) @binding(3) var<storage, read> saved: array<Saved>;              // (N, C, H, W)
@group(0) @binding(4) var<storage, read_write> output: array<Output>;      // (parts, N, C, H, W)
@group(0) @binding(5) var<uniform> params: Params;

override HAS_BIAS: bool = false;
override FOLDED: bool = false;

override PHASES: u32 = STRIDE_H * STRIDE_W;
// Phases that are slices, and phases that are rows of a product.
override SLICED: u32 = select(PHASES, 1u, FOLDED);
override ROWS: u32 = select(1u, PHASES, FOLDED);
// Pixels of the first block that lie above and left of the image.
override ABOVE: u32 = PAD_TOP % STRIDE_H;
override BEFORE: u32 = PAD_LEFT % STRIDE_W;

// The group and the phase of this slice, the phase's first taps, and how many there are in a filter and in a row
// of it: at least 1, since they are divided by.
struct Slice { group: u32, y: u32, x: u32, first_y: u32, first_x: u32, taps: u32, taps_x: u32 }
var<private> here: Slice;

// The output that the phase's first tap meets in a block: its row and column, and where that lies in memory.
struct Column { y: u32, x: u32, first: u32 }
// How far back a tap takes an output.
struct Tap { y: u32, x: u32 }

// slice = (group * SLICED + phase) * parts + part.
fn product_size(slice: u32) -> Size {
    let phase = slice / params.parts % SLICED;
    let y = phase / STRIDE_W;
    let x = phase % STRIDE_W;
    let first_y = first_tap(y, STRIDE_H, DILATION_H, min(PERIOD_H, KERNEL_H));
    let first_x = first_tap(x, STRIDE_W, DILATION_W, min(PERIOD_W, KERNEL_W));
    let taps_x = count_taps(first_x, PERIOD_W, KERNEL_W);
    let taps = count_taps(first_y, PERIOD_H, KERNEL_H) * taps_x;
    let group = slice / params.parts / SLICED;
    here = Slice(group, y, x, first_y, first_x, max(taps, 1u), max(taps_x, 1u));
    let blocks = params.batch * block_rows() * block_columns();
    let range = part_of(params.out_channels * taps, params.parts, slice % params.parts);
    return Size(params.in_channels * ROWS, blocks, range.x, range.y);
}

fn block_rows() -> u32 {
    return (params.in_height + ABOVE + STRIDE_H - 1u) / STRIDE_H;
}

fn block_columns() -> u32 {
    return (params.in_width + BEFORE + STRIDE_W - 1u) / STRIDE_W;
}

fn product_column(slice: u32, block: u32) -> Column {
    let row = block / block_columns();
    let n = row / block_rows();
    // The first tap lies in the phase's place, or whole strides behind it.
    let back_y = (here.first_y * DILATION_H - here.y) / STRIDE_H;
    let back_x = (here.first_x * DILATION_W - here.x) / STRIDE_W;
    let y = row % block_rows() + PAD_TOP / STRIDE_H - back_y;
    let x = block % block_columns() + PAD_LEFT / STRIDE_W - back_x;
    let plane = (n * params.groups + here.group) * params.out_channels;
    return Column(y, x, (plane * params.out_height + y) * params.out_width + x);
}

fn product_channels() -> u32 {
    return params.out_channels;
}

fn product_plane() -> u32 {
    return params.out_height * params.out_width;
}

fn product_tap(tap: u32) -> Tap {
    return Tap(
        tap / here.taps_x * (PERIOD_H * DILATION_H / STRIDE_H),
        tap % here.taps_x * (PERIOD_W * DILATION_W / STRIDE_W),
    );
}

// Of phases that are rows the packed taps are those of a phase, of others those of the filter.
fn packed_tap(slice: u32, tap: u32) -> u32 {
    if !TAPS_APART { return here.group * here.taps + tap; }
    let y = here.first_y + tap / here.taps_x * PERIOD_H;
    let x = here.first_x + tap % here.taps_x * PERIOD_W;
    return (here.group * KERNEL_H + y) * KERNEL_W + x;
}

fn tap_place(column: Column, tap: Tap) -> u32 {
    // Above and left of the first output the differences wrap to large numbers.
    let y = column.y - tap.y;
    let x = column.x - tap.x;
    let inside = (y < params.out_height) & (x < params.out_width);
    return select(OUTSIDE, column.first - tap.y * params.out_width - tap.x, inside);
}

fn load_element(at: u32) -> f32 {
    return f32(gradient_output[at]);
}

fn store_c(slice: u32, m: u32, block: u32, value: f32) {
    let phase = m % ROWS;
    let row = block / block_columns();
    // Above and left of the image these wrap as well.
    let y = row % block_rows() * STRIDE_H + here.y + phase / STRIDE_W - ABOVE;
    let x = block % block_columns() * STRIDE_W + here.x + phase % STRIDE_W - BEFORE;
    if y >= params.in_height || x >= params.in_width { return; }
    let channel = here.group * params.in_channels + m / ROWS;
    let image = slice % params.parts * params.batch + row / block_rows();
    var result = value;
    if HAS_BIAS { result += bias[channel]; }
    let plane = image * params.groups * params.in_channels + channel;
    store((plane * params.in_height + y) * params.in_width + x, result);
}
