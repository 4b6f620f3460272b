
// What core/taps.wgsl and core/strided_taps.wgsl sum, and where they leave it for
// conv2d_backward_weight_sum.wgsl. Uses the kernel's buffers `gradient_output`, array<vec4<Gradient>>, and
// `partial_sums`, array<vec4<f32>>.

// Channels are those of one group.
struct Params {
    batch: u32,
    groups: u32,
    in_channels: u32,
    in_height: u32,
    in_width: u32,
    out_channels: u32,
    out_height: u32,
    out_width: u32,
    rows_per_split: u32, // of the batch * out_height rows of gradient_output
}

// out_width % 4 == 0: a block is then one vec4.
override OUTPUT_VEC4: bool = false;

// A group has at most 8 output channels: a lane owns one.
override HALF: bool = false;

// The gradient is summed by itself too: that of a bias.
override ROW_SUMS: bool = false;

// Taps of a filter row that are taken at once.
override TAPS: u32 = select(4u, KERNEL_W, KERNEL_W <= 5u);

// Sums of one output channel and one tap for 8 filter rows.
struct Rows { low: vec4<f32>, high: vec4<f32> }
// All sums of one output channel.
struct Sums { t0: Rows, t1: Rows, t2: Rows, t3: Rows, t4: Rows }

// The sums of the gradient of a lane's two channels, by column of a block.
struct Gradients { low: vec4<f32>, high: vec4<f32> }

fn gradients_sum(a: Gradients, b: Gradients) -> Gradients {
    return Gradients(a.low + b.low, a.high + b.high);
}

// About so many blocks of pixels are summed by themselves, so that no sum is long enough to lose digits.
const BLOCKS: u32 = 32u;

fn rows_sum(a: Rows, b: Rows) -> Rows {
    return Rows(a.low + b.low, a.high + b.high);
}

fn sums_sum(a: Sums, b: Sums) -> Sums {
    var s = Sums();
    s.t0 = rows_sum(a.t0, b.t0);
    if TAPS > 1u { s.t1 = rows_sum(a.t1, b.t1); }
    if TAPS > 2u { s.t2 = rows_sum(a.t2, b.t2); }
    if TAPS > 3u { s.t3 = rows_sum(a.t3, b.t3); }
    if TAPS > 4u { s.t4 = rows_sum(a.t4, b.t4); }
    return s;
}

// In a loop that compilers do not unroll: see core/product_subgroup.wgsl.
fn store_sums(at: u32, s: Sums, group: vec3<u32>) {
    for (var t = 0u; t < loop_bound(TAPS, group); t++) {
        var r = s.t0;
        if t == 1u { r = s.t1; }
        if t == 2u { r = s.t2; }
        if t == 3u { r = s.t3; }
        if t == 4u { r = s.t4; }
        partial_sums[at + 2u * t] = r.low;
        partial_sums[at + 2u * t + 1u] = r.high;
    }
}

// Where a split begins, in vectors: behind the tiles of the one before, and the sums of 16 channels for each tile of them.
fn split_begin(split: u32, tiles: u32, channel_tiles: u32) -> u32 {
    return split * (tiles * 32u * TAPS + select(0u, channel_tiles * 4u, ROW_SUMS));
}

// Stores the sums of 16 channels. A lane has those of channels lane and lane + 8; two of them put them together.
fn store_gradients(i: u32, lane: u32, s: Gradients) {
    let low = dot(s.low, vec4(1.0));
    let high = dot(s.high, vec4(1.0));
    let first = lane % 2u * 4u;
    let lows = vec4(
        subgroupShuffle(low, first), subgroupShuffle(low, first + 1u),
        subgroupShuffle(low, first + 2u), subgroupShuffle(low, first + 3u),
    );
    let highs = vec4(
        subgroupShuffle(high, first), subgroupShuffle(high, first + 1u),
        subgroupShuffle(high, first + 2u), subgroupShuffle(high, first + 3u),
    );
    if lane < 2u {
        partial_sums[i + lane] = lows;
        partial_sums[i + 2u + lane] = highs;
    }
}

// Columns 4 * block .. 4 * block + 3 of one row, zero beyond its end. Called under a lane mask.
fn load_gradient_output(row: u32, block: u32) -> vec4<f32> {
    let x = block * 4u;
    let i = row * params.out_width + x;
    if OUTPUT_VEC4 { return vec4<f32>(gradient_output[i / 4u]); }
    var v = vec4(f32(gradient_output[i / 4u][i % 4u]), 0.0, 0.0, 0.0);
    if x + 1u < params.out_width { v.y = f32(gradient_output[(i + 1u) / 4u][(i + 1u) % 4u]); }
    if x + 2u < params.out_width { v.z = f32(gradient_output[(i + 2u) / 4u][(i + 2u) % 4u]); }
    if x + 3u < params.out_width { v.w = f32(gradient_output[(i + 3u) / 4u][(i + 3u) % 4u]); }
    return v;
}
