// Convolution by Fourier transforms, second of three: at each frequency, the product of filters and blocks, summed over the
// channels that are read and the parts of the filter. An invocation has a frequency, with the opposite one, of four tiles, or with
// WIDE of eight, and four channels that are written.
//   BACKWARD = false  conv2d forward: with conjugate filters, as what is called a convolution is a correlation
//   BACKWARD = true   conv2d backward input: the parts of the filter in reverse
//
// Grid   x: 64 of the frequencies; y: groups * ceil(OC / 4); z: four or eight of the chunk's tiles

@group(0) @binding(0) var<storage, read> values: array<vec4<f32>>;     // (tile, G * ceil(IC / 4), 2048)
@group(0) @binding(1) var<storage, read> weights: array<vec4<f32>>;    // (part, O, ceil(I / 4), 2048)
@group(0) @binding(2) var<storage, read_write> sums: array<vec4<f32>>; // (tile, G * ceil(OC / 4), 2048)
@group(0) @binding(3) var<uniform> params: Params;

override BACKWARD: bool = false;
// For adapters where loads cost more than registers.
override WIDE: bool = false;

// The filters of a channel that is read and the four that are written, as a real and an imaginary part multiply them.
struct Filters { real_low: vec4<f32>, imaginary_low: vec4<f32>, real_high: vec4<f32>, imaginary_high: vec4<f32> }

fn by_real(w: vec4<f32>) -> vec4<f32> {
    if BACKWARD { return w; }
    return vec4(w.x, -w.y, w.z, -w.w);
}

fn by_imaginary(w: vec4<f32>) -> vec4<f32> {
    if BACKWARD { return vec4(-w.y, w.x, -w.w, w.z); }
    return w.yxwz;
}

fn filters_of(low: vec4<f32>, high: vec4<f32>) -> Filters {
    return Filters(by_real(low), by_imaginary(low), by_real(high), by_imaginary(high));
}

fn plus(sum: Pairs, x: vec2<f32>, w: Filters) -> Pairs {
    return Pairs(
        sum.low + x.x * w.real_low + x.y * w.imaginary_low,
        sum.high + x.x * w.real_high + x.y * w.imaginary_high,
    );
}

// The filters of four channels that are read.
struct Quad { c0: Filters, c1: Filters, c2: Filters, c3: Filters }

// A tile's sums, with the products of its block in four channels.
fn with_tile(sum: Pairs, at: u32, f: Frequency, w: Quad) -> Pairs {
    let x = apart(values[at + f.at], values[at + f.opposite]);
    return plus(plus(plus(plus(sum, x.low.xy, w.c0), x.low.zw, w.c1), x.high.xy, w.c2), x.high.zw, w.c3);
}

fn weight(at: u32, f: Frequency) -> Pairs {
    return apart(weights[at + f.at], weights[at + f.opposite]);
}

fn store_pairs(at: u32, f: Frequency, sum: Pairs) {
    sums[at + f.at] = together(sum);
    if f.opposite != f.at { sums[at + f.opposite] = together_opposite(sum); }
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let f = frequency_of(group.x * 64u + thread);
    if !f.there { return; }
    let in_quads = (params.in_channels + 3u) / 4u;
    let out_quads = (params.out_channels + 3u) / 4u;
    let channel_group = group.y / out_quads;
    let out_quad = group.y - channel_group * out_quads;
    let stride = params.groups * in_quads * POINTS;
    // A quad's channels that are missing are like the last one: what comes of them is not read, or multiplied with zero.
    let rows = select(params.out_channels, params.in_channels, BACKWARD);
    let quads = select(in_quads, out_quads, BACKWARD);
    var s0 = Pairs(vec4(0.0), vec4(0.0));
    var s1 = s0;
    var s2 = s0;
    var s3 = s0;
    var s4 = s0;
    var s5 = s0;
    var s6 = s0;
    var s7 = s0;
    let first_tile = group.z * select(4u, 8u, WIDE);
    let turns = loop_bound(params.parts_down * params.parts_across * in_quads, group);
    for (var turn = 0u; turn < turns; turn++) {
        let part = turn / in_quads;
        let in_quad = turn - part * in_quads;
        var down = part / params.parts_across;
        var across = part - down * params.parts_across;
        if BACKWARD {
            down = params.parts_down - 1u - down;
            across = params.parts_across - 1u - across;
        }
        let tile = first_tile + down * params.tiles_across + across;
        let at = (tile * params.groups * in_quads + channel_group * in_quads + in_quad) * POINTS;
        let row = select(out_quad, in_quad, BACKWARD) * 4u;
        let quad = select(in_quad, out_quad, BACKWARD);
        let filters_at = part * params.groups * rows + channel_group * rows;
        let w0 = weight(((filters_at + row) * quads + quad) * POINTS, f);
        let w1 = weight(((filters_at + min(row + 1u, rows - 1u)) * quads + quad) * POINTS, f);
        let w2 = weight(((filters_at + min(row + 2u, rows - 1u)) * quads + quad) * POINTS, f);
        let w3 = weight(((filters_at + min(row + 3u, rows - 1u)) * quads + quad) * POINTS, f);
        var c0 = filters_of(w0.low, w0.high);
        var c1 = filters_of(w1.low, w1.high);
        var c2 = filters_of(w2.low, w2.high);
        var c3 = filters_of(w3.low, w3.high);
        if !BACKWARD {
            c0 = filters_of(vec4(w0.low.xy, w1.low.xy), vec4(w2.low.xy, w3.low.xy));
            c1 = filters_of(vec4(w0.low.zw, w1.low.zw), vec4(w2.low.zw, w3.low.zw));
            c2 = filters_of(vec4(w0.high.xy, w1.high.xy), vec4(w2.high.xy, w3.high.xy));
            c3 = filters_of(vec4(w0.high.zw, w1.high.zw), vec4(w2.high.zw, w3.high.zw));
        }
        let filters = Quad(c0, c1, c2, c3);
        s0 = with_tile(s0, at, f, filters);
        s1 = with_tile(s1, at + stride, f, filters);
        s2 = with_tile(s2, at + 2u * stride, f, filters);
        s3 = with_tile(s3, at + 3u * stride, f, filters);
        if WIDE {
            s4 = with_tile(s4, at + 4u * stride, f, filters);
            s5 = with_tile(s5, at + 5u * stride, f, filters);
            s6 = with_tile(s6, at + 6u * stride, f, filters);
            s7 = with_tile(s7, at + 7u * stride, f, filters);
        }
    }
    let to_stride = params.groups * out_quads * POINTS;
    let to = first_tile * to_stride + group.y * POINTS;
    store_pairs(to, f, s0);
    store_pairs(to + to_stride, f, s1);
    store_pairs(to + 2u * to_stride, f, s2);
    store_pairs(to + 3u * to_stride, f, s3);
    if WIDE {
        store_pairs(to + 4u * to_stride, f, s4);
        store_pairs(to + 5u * to_stride, f, s5);
        store_pairs(to + 6u * to_stride, f, s6);
        store_pairs(to + 7u * to_stride, f, s7);
    }
}
