// Convolution by Fourier transforms, last of three: tiles of results from the sums at their frequencies, with the bias,
// through the epilogue.
//
// A NaN or an infinity among the pixels or weights that a tile depends on, or an overflow on the way, is in all frequencies of
// a block or in one, and so in one of both parts of all of a complex signal's points: an invocation that finds any computes
// its results again by their definition.
//
// Grid   x: groups * ceil(OC / 4); y: the chunk's tiles

@group(0) @binding(0) var<storage, read> sums: array<vec4<f32>>;      // (tile, G * ceil(OC / 4), 2048)
@group(0) @binding(1) var<storage, read> bias: array<f32>;            // (G * OC), or a dummy
@group(0) @binding(2) var<storage, read> saved: array<Saved>;         // (N, G * OC, OH, OW)
@group(0) @binding(3) var<storage, read_write> output: array<Output>; // (N, G * OC, OH, OW)
@group(0) @binding(4) var<storage, read> input: array<Input>;         // (N, G * IC, IH, IW)
@group(0) @binding(5) var<storage, read> weight: array<Weight>;       // (O, I, KH, KW)
@group(0) @binding(6) var<storage, read> twiddles: array<vec2<f32>>;  // (256)
@group(0) @binding(7) var<uniform> params: Params;

override BACKWARD: bool = false;
override HAS_BIAS: bool = false;
// Whether sums by their definition take four taps in a turn of their loop, as some drivers end long ones.
override LONG: bool = false;

alias Source = u32;

fn point(at: u32, n: u32) -> vec4<f32> {
    return sums[at + n];
}

// Four channels of a tile: the first plane that is read, and that is written.
struct Place { tile: Tile, in_plane: u32, out_plane: u32, channel_group: u32, channel: u32, channels: u32 }

// Where a point of a block is a result's place in a plane: row, column, and whether it is one. The results of an input
// gradient lie behind those that depend on points on the other side of the block.
struct Result { y: u32, x: u32, there: bool }

fn result_of(tile: Tile, n: u32) -> Result {
    let place = point_of(n);
    var y = place.x;
    var x = place.y;
    if BACKWARD {
        y -= params.reach_height - 1u; // wraps, beyond any tile
        x -= params.reach_width - 1u;
    }
    let of_tile = y < params.span_height && x < params.span_width;
    y += tile.y * params.span_height;
    x += tile.x * params.span_width;
    return Result(y, x, of_tile && y < params.out_height && x < params.out_width);
}

fn biases(place: Place) -> vec4<f32> {
    if !HAS_BIAS { return vec4(0.0); }
    let at = place.channel_group * params.out_channels + place.channel;
    let last = place.channels - 1u;
    return vec4(bias[at], bias[at + min(1u, last)], bias[at + min(2u, last)], bias[at + min(3u, last)]);
}

fn store_results(place: Place, n: u32, values: vec4<f32>) {
    let result = result_of(place.tile, n);
    if !result.there { return; }
    let plane = params.out_height * params.out_width;
    let at = place.out_plane * plane + result.y * params.out_width + result.x;
    for (var i = 0u; i < place.channels; i++) { store(at + i * plane, values[i]); }
}

// The larger exponents.
fn exponents(most: vec4<u32>, v: vec4<f32>) -> vec4<u32> {
    return max(most, bitcast<vec4<u32>>(v) & vec4(0x7f800000u));
}

// A pixel of the input, times the weights of a tap. What a forward pass pads with is multiplied too; in the gradient of its
// input a tap that met padding has no part.
fn products(plane: u32, y: u32, x: u32, w: vec4<f32>) -> vec4<f32> {
    if y < params.in_height && x < params.in_width {
        return w * f32(input[plane + y * params.in_width + x]);
    }
    if BACKWARD { return vec4(0.0); }
    return vec4(times_zero(w.x), times_zero(w.y), times_zero(w.z), times_zero(w.w));
}

// The weights of a channel that is read and four that are written, at a tap.
fn weights_at(place: Place, c: u32, tap: u32) -> vec4<f32> {
    let taps = params.kernel_height * params.kernel_width;
    var at = ((place.channel_group * params.out_channels + place.channel) * params.in_channels + c) * taps + tap;
    var stride = params.in_channels * taps;
    if BACKWARD {
        at = ((place.channel_group * params.in_channels + c) * params.out_channels + place.channel) * taps + tap;
        stride = taps;
    }
    let last = place.channels - 1u;
    return vec4(
        f32(weight[at]),
        f32(weight[at + min(1u, last) * stride]),
        f32(weight[at + min(2u, last) * stride]),
        f32(weight[at + min(3u, last) * stride]),
    );
}

// Where a result reads at a tap: the pixel, which wraps outside the plane.
fn reads(result: Result, ky: u32, kx: u32) -> vec2<u32> {
    let dy = ky * params.dilation_height;
    let dx = kx * params.dilation_width;
    if BACKWARD {
        // The padding, from where the first block begins.
        let top = params.parts_down * params.span_height - params.span_height + params.reach_height - 1u - u32(params.pad_top);
        let left = params.parts_across * params.span_width - params.span_width + params.reach_width - 1u - u32(params.pad_left);
        return vec2(result.y + top - dy, result.x + left - dx);
    }
    return vec2(result.y + dy - u32(params.pad_top), result.x + dx - u32(params.pad_left));
}

// The product of a channel at a tap, for the result of a point.
fn term(place: Place, n: u32, plane: u32, ky: u32, kx: u32, w: vec4<f32>) -> vec4<f32> {
    let at = reads(result_of(place.tile, n), ky, kx);
    return products(plane, at.x, at.y, w);
}

fn added(a: Eight, b: Eight) -> Eight {
    return Eight(
        a.v0 + b.v0, a.v1 + b.v1, a.v2 + b.v2, a.v3 + b.v3, a.v4 + b.v4, a.v5 + b.v5, a.v6 + b.v6, a.v7 + b.v7,
    );
}

// The sums of an invocation's points, with those products.
fn with_tap(v: Eight, place: Place, thread: u32, plane: u32, c: u32, tap: u32) -> Eight {
    let w = weights_at(place, c, tap);
    let ky = tap / params.kernel_width;
    let kx = tap - ky * params.kernel_width;
    return Eight(
        v.v0 + term(place, thread, plane, ky, kx, w),
        v.v1 + term(place, thread + 256u, plane, ky, kx, w),
        v.v2 + term(place, thread + 512u, plane, ky, kx, w),
        v.v3 + term(place, thread + 768u, plane, ky, kx, w),
        v.v4 + term(place, thread + 1024u, plane, ky, kx, w),
        v.v5 + term(place, thread + 1280u, plane, ky, kx, w),
        v.v6 + term(place, thread + 1536u, plane, ky, kx, w),
        v.v7 + term(place, thread + 1792u, plane, ky, kx, w),
    );
}

// Where the sum of a point begins: that of one that is no result has an end.
fn start(place: Place, n: u32) -> vec4<f32> {
    var bits = 0u;
    if !result_of(place.tile, n).there { bits = 0x7fc00000u; }
    return vec4(bitcast<f32>(bits));
}

fn have_ended(v: Eight) -> bool {
    let most = vec4(0x7fffffffu);
    let early = fewest(fewest(fewest(fewest(most, v.v0), v.v1), v.v2), v.v3);
    return all_nan(fewest(fewest(fewest(fewest(early, v.v4), v.v5), v.v6), v.v7));
}

// An invocation's points, by the sums that define them.
fn direct(place: Place, thread: u32, in_channels: u32) -> Eight {
    let taps = params.kernel_height * params.kernel_width;
    let zero = vec4(0.0);
    var sums = Eight(
        start(place, thread),
        start(place, thread + 256u),
        start(place, thread + 512u),
        start(place, thread + 768u),
        start(place, thread + 1024u),
        start(place, thread + 1280u),
        start(place, thread + 1536u),
        start(place, thread + 1792u),
    );
    for (var c = 0u; c < in_channels && !have_ended(sums); c++) {
        let plane = (place.in_plane + c) * params.in_height * params.in_width;
        var of_channel = Eight(zero, zero, zero, zero, zero, zero, zero, zero);
        for (var tap = 0u; tap < taps; tap += select(1u, 4u, LONG)) {
            if tap % 16u == 0u && have_ended(added(sums, of_channel)) { break; }
            of_channel = with_tap(of_channel, place, thread, plane, c, tap);
            if LONG {
                if tap + 1u < taps { of_channel = with_tap(of_channel, place, thread, plane, c, tap + 1u); }
                if tap + 2u < taps { of_channel = with_tap(of_channel, place, thread, plane, c, tap + 2u); }
                if tap + 3u < taps { of_channel = with_tap(of_channel, place, thread, plane, c, tap + 3u); }
            }
        }
        sums = added(sums, of_channel);
    }
    return sums;
}

fn of_block(v: Eight, index: u32) -> vec4<f32> {
    switch index {
        case 0u: { return v.v0; }
        case 1u: { return v.v1; }
        case 2u: { return v.v2; }
        case 3u: { return v.v3; }
        case 4u: { return v.v4; }
        case 5u: { return v.v5; }
        case 6u: { return v.v6; }
        default: { return v.v7; }
    }
}

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let tile = tile_of(params.first_tile + group.y);
    if !has_results(tile) { return; }
    let out_quads = (params.out_channels + 3u) / 4u;
    let channel_group = group.x / out_quads;
    let channel = (group.x - channel_group * out_quads) * 4u;
    let image_group = tile.n * params.groups + channel_group;
    let place = Place(
        tile,
        image_group * params.in_channels,
        image_group * params.out_channels + channel,
        channel_group,
        channel,
        min(params.out_channels - channel, 4u),
    );
    let at = (group.y * params.groups * out_quads + group.x) * POINTS;
    // Real and imaginary parts have changed places.
    let swapped = transformed(block_of(at, thread), thread);
    var r = Eight(
        swapped.v0.yxwz,
        swapped.v1.yxwz,
        swapped.v2.yxwz,
        swapped.v3.yxwz,
        swapped.v4.yxwz,
        swapped.v5.yxwz,
        swapped.v6.yxwz,
        swapped.v7.yxwz,
    );
    let early = exponents(exponents(exponents(exponents(vec4(0u), r.v0), r.v1), r.v2), r.v3);
    let most = exponents(exponents(exponents(exponents(early, r.v4), r.v5), r.v6), r.v7);
    if any(most == vec4(0x7f800000u)) { r = direct(place, thread, loop_bound(params.in_channels, group)); }
    let b = biases(place);
    for (var i = 0u; i < 8u; i++) { store_results(place, thread + 256u * i, of_block(r, i) + b); }
}
