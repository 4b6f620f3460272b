
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

// Taps of a filter row that are taken at once.
override TAPS: u32 = select(4u, KERNEL_W, KERNEL_W <= 5u);

// Sums of one output channel and one tap for 8 filter rows.
struct Rows { low: vec4<f32>, high: vec4<f32> }
// All sums of one output channel.
struct Sums { t0: Rows, t1: Rows, t2: Rows, t3: Rows, t4: Rows }

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

fn store_rows(i: u32, r: Rows) {
    partial_sums[i] = r.low;
    partial_sums[i + 1u] = r.high;
}

fn store_sums(i: u32, s: Sums) {
    store_rows(i, s.t0);
    if TAPS > 1u { store_rows(i + 2u, s.t1); }
    if TAPS > 2u { store_rows(i + 4u, s.t2); }
    if TAPS > 3u { store_rows(i + 6u, s.t3); }
    if TAPS > 4u { store_rows(i + 8u, s.t4); }
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
