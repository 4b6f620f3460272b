
// Depthwise convolution, forward: strides 1 and 2, or dilation at stride 1; filters up to 7 x 7.
//
// An invocation owns a strip of 4 columns of one output plane, and walks down the rows of its segment. It
// holds its channel's filter, and the sums of the output rows that are under way; each row of the input is
// loaded once, and added to all of them:
//
//   input row i     [x x x x x x]  ->  n0 += filter row 0 * x     output row i
//   (KERNEL_H = 3)                     n1 += filter row 1 * x     output row i - 1
//                                      n2 += filter row 2 * x     output row i - 2, complete: stored
//
// Then n1 becomes n2, and so on. At stride 2, two input rows make one such turn, and every other filter row
// meets each. With dilation, the rows and the columns of a segment are as far apart as the taps.
//
// Calls  load_window of core/strip_taps.wgsl; store_pixels(row, x, vec4): up to 4 pixels, DILATION_W apart
// Grid   x, y: invocations, planes * segments * strips, folded

override LEFT: u32 = PAD_LEFT;
override ELEMENTS: u32 = 3u * STRIDE_W + KERNEL_W;
// Output rows under way.
override DEPTH: u32 = (KERNEL_H + STRIDE_H - 1u) / STRIDE_H;

// The newest first.
struct Sums { n0: vec4<f32>, n1: vec4<f32>, n2: vec4<f32>, n3: vec4<f32>, n4: vec4<f32>, n5: vec4<f32>, n6: vec4<f32> }

fn row_added(sum: vec4<f32>, f: Filter, kh: u32, w: Window) -> vec4<f32> {
    var s = sum;
    if kh < KERNEL_H {
        let taps = filter_row(f, kh);
        var row = taps.low.x * w.p0;
        if KERNEL_W > 1u { row += taps.low.y * w.p1; }
        if KERNEL_W > 2u { row += taps.low.z * w.p2; }
        if KERNEL_W > 3u { row += taps.low.w * w.p3; }
        if KERNEL_W > 4u { row += taps.high.x * w.p4; }
        if KERNEL_W > 5u { row += taps.high.y * w.p5; }
        if KERNEL_W > 6u { row += taps.high.z * w.p6; }
        s += row;
    }
    return s;
}

// With input row `p` of a turn, which is 0 or 1.
fn added(s: Sums, f: Filter, p: u32, w: Window) -> Sums {
    return Sums(
        row_added(s.n0, f, p, w),
        row_added(s.n1, f, p + STRIDE_H, w),
        row_added(s.n2, f, p + 2u * STRIDE_H, w),
        row_added(s.n3, f, p + 3u * STRIDE_H, w),
        row_added(s.n4, f, p + 4u * STRIDE_H, w),
        row_added(s.n5, f, p + 5u * STRIDE_H, w),
        row_added(s.n6, f, p + 6u * STRIDE_H, w),
    );
}

fn oldest(s: Sums) -> vec4<f32> {
    switch DEPTH {
        case 1u: { return s.n0; }
        case 2u: { return s.n1; }
        case 3u: { return s.n2; }
        case 4u: { return s.n3; }
        case 5u: { return s.n4; }
        case 6u: { return s.n5; }
        default: { return s.n6; }
    }
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let at = flat_index(group, 64u, thread);
    let strips = (params.out_width + 4u * DILATION_W - 1u) / (4u * DILATION_W) * DILATION_W;
    let column = at / strips;
    let strip = at - column * strips;
    let plane = column / params.segments;
    let segment = column - plane * params.segments;
    if plane >= params.planes { return; }
    let x = strip / DILATION_W * 4u * DILATION_W + strip % DILATION_W;
    let first = segment / DILATION_H * params.rows * DILATION_H + segment % DILATION_H; // output row
    let in_plane = plane / params.multiplier;
    let channel = plane % params.channels;

    let f = load_filter(channel);
    let start = initial_sum(channel);
    var s = Sums(start, start, start, start, start, start, start);
    let turns = loop_bound(params.rows + DEPTH - 1u, group);
    for (var turn = 0u; turn < turns; turn++) {
        let y = (first + turn * DILATION_H) * STRIDE_H - PAD_TOP;
        s = added(s, f, 0u, load_window(in_plane, y, x * STRIDE_W));
        if STRIDE_H > 1u { s = added(s, f, 1u, load_window(in_plane, y + 1u, x * STRIDE_W)); }
        if turn + 1u >= DEPTH {
            let out_y = first + (turn + 1u - DEPTH) * DILATION_H;
            if out_y < params.out_height { store_pixels(plane * params.out_height + out_y, x, oldest(s)); }
        }
        s = Sums(start, s.n0, s.n1, s.n2, s.n3, s.n4, s.n5);
    }
}
