
// Depthwise convolution, input gradient: strides 1 and 2, or dilation at stride 1; filters up to 7 x 7.
//
// The same walk as in core/depthwise_forward.wgsl, along the rows of the output gradient, of which each is
// loaded once. Here row j has its part in input rows j * STRIDE - PAD + kh, so that after each of them
// STRIDE rows of sums are complete. In the same way, a strip is 4 columns of each of STRIDE phases: those
// that the same taps reach.
//
//   gradient row j  [g g g g g]    ->  n0 += filter row 0 * g     row 2j - PAD,     complete: stored
//   (KERNEL_H = 3, stride 2)           n1 += filter row 1 * g     row 2j - PAD + 1, complete: stored
//                                      n2 += filter row 2 * g     row 2j - PAD + 2, becomes n0
//
// Calls  load_elements of core/strip.wgsl; store_pixels(row, x, vec4): up to 4 pixels, DILATION_W apart
// Grid   x, y: invocations, planes * segments * strips, folded

// In gradient columns. The padding is less than the filter's reach.
override LEFT: u32 = ((KERNEL_W - 1u) * DILATION_W - PAD_LEFT) / STRIDE_W;
override ELEMENTS: u32 = select(4u + LEFT + (PAD_LEFT + STRIDE_W - 1u) / STRIDE_W, 3u + KERNEL_W, STRIDE_W == 1u);
// Rows of the gradient before the one that completes a segment's first row.
override BEFORE: u32 = (KERNEL_H - 1u) / STRIDE_H;

// One row of a strip: the columns of each phase.
struct Phases { even: vec4<f32>, odd: vec4<f32> }
struct Sums { n0: Phases, n1: Phases, n2: Phases, n3: Phases, n4: Phases, n5: Phases, n6: Phases }

// The phase that tap `kw` reaches, and what it meets there in a row of the gradient.
fn phase(kw: u32) -> u32 {
    return (PAD_LEFT + kw) % STRIDE_W;
}

fn met(e: Elements, kw: u32) -> vec4<f32> {
    var p = vec4<f32>();
    if kw < KERNEL_W {
        let step = (LEFT * STRIDE_W + phase(kw) + PAD_LEFT - kw) / STRIDE_W;
        p = slide(e.a, e.b, e.c, select(step, KERNEL_W - 1u - kw, STRIDE_W == 1u));
    }
    return p;
}

fn window(e: Elements) -> Window {
    return Window(met(e, 0u), met(e, 1u), met(e, 2u), met(e, 3u), met(e, 4u), met(e, 5u), met(e, 6u));
}

fn tap_added(s: Phases, tap: f32, kw: u32, p: vec4<f32>) -> Phases {
    var sum = s;
    if kw < KERNEL_W {
        if phase(kw) == 0u { sum.even += tap * p; } else { sum.odd += tap * p; }
    }
    return sum;
}

fn row_added(s: Phases, f: Filter, kh: u32, w: Window) -> Phases {
    var sum = s;
    if kh < KERNEL_H {
        let taps = filter_row(f, kh);
        sum = tap_added(sum, taps.low.x, 0u, w.p0);
        sum = tap_added(sum, taps.low.y, 1u, w.p1);
        sum = tap_added(sum, taps.low.z, 2u, w.p2);
        sum = tap_added(sum, taps.low.w, 3u, w.p3);
        sum = tap_added(sum, taps.high.x, 4u, w.p4);
        sum = tap_added(sum, taps.high.y, 5u, w.p5);
        sum = tap_added(sum, taps.high.z, 6u, w.p6);
    }
    return sum;
}

fn store_row(row: u32, x: u32, s: Phases) {
    if STRIDE_W == 1u {
        store_pixels(row, x, s.even);
    } else {
        store_pixels(row, x, vec4(s.even.x, s.odd.x, s.even.y, s.odd.y));
        store_pixels(row, x + 4u, vec4(s.even.z, s.odd.z, s.even.w, s.odd.w));
    }
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let at = flat_index(group, 64u, thread);
    let wide = 4u * STRIDE_W * DILATION_W; // columns of a strip
    let strips = (params.out_width + wide - 1u) / wide * DILATION_W;
    let column = at / strips;
    let strip = at - column * strips;
    let plane = column / params.segments;
    let segment = column - plane * params.segments;
    if plane >= params.planes { return; }
    let x = strip / DILATION_W * wide + strip % DILATION_W;
    // Of the pairs of rows that one gradient row completes, or the single ones.
    let first = segment / DILATION_H * params.rows * DILATION_H + segment % DILATION_H;
    let channel = plane % params.channels;

    let f = load_filter(channel);
    let start = Phases(initial_sum(channel), initial_sum(channel));
    var s = Sums(start, start, start, start, start, start, start);
    let turns = loop_bound(params.rows + BEFORE, group);
    for (var turn = 0u; turn < turns; turn++) {
        // Above the gradient it wraps to large numbers.
        let done = first + turn * DILATION_H - BEFORE * DILATION_H;
        let j = done + PAD_TOP / STRIDE_H;
        var w = Window();
        if j < params.in_height { w = window(load_elements(plane * params.in_height + j, x / STRIDE_W)); }
        s = Sums(
            row_added(s.n0, f, 0u, w), row_added(s.n1, f, 1u, w), row_added(s.n2, f, 2u, w), row_added(s.n3, f, 3u, w),
            row_added(s.n4, f, 4u, w), row_added(s.n5, f, 5u, w), row_added(s.n6, f, 6u, w),
        );
        if turn >= BEFORE {
            let y = done * STRIDE_H - PAD_TOP % STRIDE_H;
            let row = plane * params.out_height + y;
            if y < params.out_height { store_row(row, x, s.n0); }
            if STRIDE_H > 1u && y + 1u < params.out_height { store_row(row + 1u, x, s.n1); }
        }
        if STRIDE_H == 1u {
            s = Sums(s.n1, s.n2, s.n3, s.n4, s.n5, s.n6, start);
        } else {
            s = Sums(s.n2, s.n3, s.n4, s.n5, s.n6, start, start);
        }
    }
}
