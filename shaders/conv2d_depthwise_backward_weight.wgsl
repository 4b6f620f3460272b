// Depthwise convolution, weight gradient: strides 1 and 2, or dilation at stride 1; filters up to 7 x 7.
//   gw[c, kh, kw] = sum over n, y, x of gy[n, c, y, x] * x[n, c, y * stride + kh * dilation - pad, ..]
//
// The walk of core/depthwise_forward.wgsl: a strip of 4 columns of the output gradient, down the rows of a
// segment. An invocation holds the gradient rows that an input row meets, loads each row of both once, and
// adds up all taps of its channel. It takes one segment of its channel in every `parts`, of all images;
// reduce_parts.wgsl adds what the invocations of a channel have found.
//
// Grid   x, y: invocations, channels * parts, folded

// Bound as vec4: the binding must cover their length rounded up to 4 floats.
@group(0) @binding(0) var<storage, read> gradient_output: array<vec4<Gradient>>; // (N, C, OH, OW)
@group(0) @binding(1) var<storage, read> input: array<vec4<Input>>;              // (N, C / multiplier, IH, IW)
@group(0) @binding(2) var<storage, read_write> partial_sums: array<f32>;         // (parts, C, KH, KW)
@group(0) @binding(3) var<uniform> params: Params;

struct Params {
    batch: u32,
    channels: u32,
    multiplier: u32, // output channels of an input plane
    in_height: u32,
    in_width: u32,
    out_height: u32,
    out_width: u32,
    rows: u32,       // of a segment
    segments: u32,   // of a strip
    parts: u32,      // that the segments of a channel are shared by
}

// out_width % 4 == 0 and DILATION_W == 1: a strip is then one vec4.
override OUTPUT_VEC4: bool = false;

override LEFT: u32 = PAD_LEFT;
override ELEMENTS: u32 = 3u * STRIDE_W + KERNEL_W;
// Gradient rows that an input row meets.
override DEPTH: u32 = (KERNEL_H + STRIDE_H - 1u) / STRIDE_H;

fn load_pixel(i: u32, inside: bool) -> f32 {
    var v = 0.0;
    if inside { v = f32(gradient_output[i / 4u][i % 4u]); }
    return v;
}

// A strip of one row of the gradient, zero beyond its end.
fn load_gradient(row: u32, x: u32, inside: vec4<bool>) -> vec4<f32> {
    let i = row * params.out_width + x;
    var v: vec4<f32>;
    if OUTPUT_VEC4 {
        v = vec4<f32>(gradient_output[i / 4u]);
    } else {
        v = vec4(
            load_pixel(i, inside.x), load_pixel(i + DILATION_W, inside.y),
            load_pixel(i + 2u * DILATION_W, inside.z), load_pixel(i + 3u * DILATION_W, inside.w),
        );
    }
    return v;
}

// Filter row `kh` of the sums, with what an input row and the gradient row that it meets there give.
fn row_added(sum: Taps, kh: u32, g: vec4<f32>, w: Window, meets: bool) -> Taps {
    var s = sum;
    if kh < KERNEL_H {
        var low = vec4(dot(g, w.p0), 0.0, 0.0, 0.0);
        if KERNEL_W > 1u { low.y = dot(g, w.p1); }
        if KERNEL_W > 2u { low.z = dot(g, w.p2); }
        if KERNEL_W > 3u { low.w = dot(g, w.p3); }
        s.low += select(vec4<f32>(), low, meets);
        if KERNEL_W > 4u {
            var high = vec4(dot(g, w.p4), 0.0, 0.0, 0.0);
            if KERNEL_W > 5u { high.y = dot(g, w.p5); }
            if KERNEL_W > 6u { high.z = dot(g, w.p6); }
            s.high += select(vec4<f32>(), high, meets);
        }
    }
    return s;
}

// Pixels beyond the gradient's row are left out, not multiplied by zero, which would make NaN of infinity.
fn left_out(w: Window, inside: vec4<bool>) -> Window {
    let zero = vec4<f32>();
    var kept = w;
    if !OUTPUT_VEC4 {
        kept = Window(
            select(zero, w.p0, inside), select(zero, w.p1, inside), select(zero, w.p2, inside), select(zero, w.p3, inside),
            select(zero, w.p4, inside), select(zero, w.p5, inside), select(zero, w.p6, inside),
        );
    }
    return kept;
}

fn taps_sum(a: Taps, b: Taps) -> Taps {
    return Taps(a.low + b.low, a.high + b.high);
}

fn filter_sum(a: Filter, b: Filter) -> Filter {
    return Filter(
        taps_sum(a.r0, b.r0), taps_sum(a.r1, b.r1), taps_sum(a.r2, b.r2), taps_sum(a.r3, b.r3),
        taps_sum(a.r4, b.r4), taps_sum(a.r5, b.r5), taps_sum(a.r6, b.r6),
    );
}

// Gradient rows, the newest first.
struct Rows { n0: vec4<f32>, n1: vec4<f32>, n2: vec4<f32>, n3: vec4<f32>, n4: vec4<f32>, n5: vec4<f32>, n6: vec4<f32> }

// The gradient row of `ago` turns ago, which is a constant wherever it is called.
fn gradient_row(g: Rows, ago: u32) -> vec4<f32> {
    switch ago {
        case 0u: { return g.n0; }
        case 1u: { return g.n1; }
        case 2u: { return g.n2; }
        case 3u: { return g.n3; }
        case 4u: { return g.n4; }
        case 5u: { return g.n5; }
        default: { return g.n6; }
    }
}

// Filter row `kh`, if input row `p` of a turn is one that it meets: of a segment's `rows`, it meets the one that
// came kh / STRIDE_H turns ago.
fn turn_added(sum: Taps, kh: u32, p: u32, g: Rows, w: Window, turn: u32, rows: u32) -> Taps {
    var s = sum;
    if kh % STRIDE_H == p {
        let ago = kh / STRIDE_H;
        s = row_added(sum, kh, gradient_row(g, ago), w, turn - ago < rows);
    }
    return s;
}

// The sums with what input row `p` of a turn gives.
fn added(s: Filter, p: u32, g: Rows, w: Window, turn: u32, rows: u32) -> Filter {
    return Filter(
        turn_added(s.r0, 0u, p, g, w, turn, rows), turn_added(s.r1, 1u, p, g, w, turn, rows),
        turn_added(s.r2, 2u, p, g, w, turn, rows), turn_added(s.r3, 3u, p, g, w, turn, rows),
        turn_added(s.r4, 4u, p, g, w, turn, rows), turn_added(s.r5, 5u, p, g, w, turn, rows),
        turn_added(s.r6, 6u, p, g, w, turn, rows),
    );
}

// The sums of one segment.
fn segment_sums(n: u32, channel: u32, segment: u32, strip: u32) -> Filter {
    let x = strip / DILATION_W * 4u * DILATION_W + strip % DILATION_W;
    let inside = x + vec4(0u, 1u, 2u, 3u) * DILATION_W < vec4(params.out_width);
    let first = segment / DILATION_H * params.rows * DILATION_H + segment % DILATION_H;
    let left = max(params.out_height, first) - first;
    let rows = min(params.rows, (left + DILATION_H - 1u) / DILATION_H);
    let plane = n * params.channels + channel;
    var s = Filter();
    var g = Rows();
    let turns = select(rows + DEPTH - 1u, 0u, rows == 0u);
    for (var turn = 0u; turn < turns; turn++) {
        let out_y = first + turn * DILATION_H;
        g = Rows(vec4<f32>(), g.n0, g.n1, g.n2, g.n3, g.n4, g.n5);
        if turn < rows { g.n0 = load_gradient(plane * params.out_height + out_y, x, inside); }
        let y = out_y * STRIDE_H - PAD_TOP;
        let in_plane = plane / params.multiplier;
        s = added(s, 0u, g, left_out(load_window(in_plane, y, x * STRIDE_W), inside), turn, rows);
        if STRIDE_H > 1u { s = added(s, 1u, g, left_out(load_window(in_plane, y + 1u, x * STRIDE_W), inside), turn, rows); }
    }
    return s;
}

fn store_tap(at: u32, kh: u32, kw: u32, sum: f32) {
    if kh < KERNEL_H && kw < KERNEL_W { partial_sums[at + kh * KERNEL_W + kw] = sum; }
}

fn store_taps(at: u32, kh: u32, t: Taps) {
    store_tap(at, kh, 0u, t.low.x);
    store_tap(at, kh, 1u, t.low.y);
    store_tap(at, kh, 2u, t.low.z);
    store_tap(at, kh, 3u, t.low.w);
    store_tap(at, kh, 4u, t.high.x);
    store_tap(at, kh, 5u, t.high.y);
    store_tap(at, kh, 6u, t.high.z);
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    // Neighbouring invocations have neighbouring segments.
    let at = flat_index(group, 64u, thread);
    let channel = at / params.parts;
    let part = at - channel * params.parts;
    if channel >= params.channels { return; }
    let strips = (params.out_width + 4u * DILATION_W - 1u) / (4u * DILATION_W) * DILATION_W;
    let all = loop_bound(params.batch * params.segments * strips, group);
    var sums = Filter();
    // Each segment's sums by themselves, so that none is long enough to lose digits.
    for (var i = part; i < all; i += params.parts) {
        let column = i / strips;
        let n = column / params.segments;
        sums = filter_sum(sums, segment_sums(n, channel, column - n * params.segments, i - column * strips));
    }
    let to = (part * params.channels + channel) * KERNEL_H * KERNEL_W;
    store_taps(to, 0u, sums.r0);
    store_taps(to, 1u, sums.r1);
    store_taps(to, 2u, sums.r2);
    store_taps(to, 3u, sums.r3);
    store_taps(to, 4u, sums.r4);
    store_taps(to, 5u, sums.r5);
    store_taps(to, 6u, sums.r6);
}
