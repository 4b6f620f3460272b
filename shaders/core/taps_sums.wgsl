
// What core/taps.wgsl and core/gather_taps.wgsl sum, and where they leave it for
// conv2d_backward_weight_sum.wgsl.

// Taps of a filter row that are taken at once.
override TAPS: u32 = select(4u, KERNEL_W, KERNEL_W <= 5u);

// Sums of one output channel and one tap for 8 filter rows.
struct Rows { low: vec4<f32>, high: vec4<f32> }
// All sums of one output channel.
struct Sums { t0: Rows, t1: Rows, t2: Rows, t3: Rows, t4: Rows }

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
