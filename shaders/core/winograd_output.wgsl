
// Tiles of 4x4 results from the sums at the points of core/winograd_points.wgsl, with the bias. An invocation has one tile
// and four channels.
//
// A NaN or an infinity among its pixels or weights, or an overflow on the way, leaves no result of a tile as it should be,
// and at least one of them not finite: such a tile is computed again by its definition.
//
// A kernel provides the buffers `sums`, `bias`, `input` and `weight`, and
//   store_pixels(plane, y, x, sum)   up to four pixels of one row of a plane, those that are inside
//
// Grid   x: groups * quads of channels, filled up; y: 64 of the chunk's tiles

override PAD_TOP: u32 = 1u;
override PAD_LEFT: u32 = 1u;
override BACKWARD: bool = false;
override HAS_BIAS: bool = false;

fn load_column(at: u32, stride: u32) -> Four {
    return output_from_points(Six(
        sums[at],
        sums[at + 6u * stride],
        sums[at + 12u * stride],
        sums[at + 18u * stride],
        sums[at + 24u * stride],
        sums[at + 30u * stride],
    ));
}

// Each of four columns of a row, for four channels.
fn row_from_points(c0: vec4<f32>, c1: vec4<f32>, c2: vec4<f32>, c3: vec4<f32>, c4: vec4<f32>, c5: vec4<f32>) -> Four {
    return output_from_points(Six(c0, c1, c2, c3, c4, c5));
}

// The larger exponents.
fn exponents(most: vec4<u32>, row: Four) -> vec4<u32> {
    let mask = vec4(0x7f800000u);
    let a = max(bitcast<vec4<u32>>(row.v0) & mask, bitcast<vec4<u32>>(row.v1) & mask);
    let b = max(bitcast<vec4<u32>>(row.v2) & mask, bitcast<vec4<u32>>(row.v3) & mask);
    return max(most, max(a, b));
}

fn bias_of(channel_group: u32, channel: u32) -> f32 {
    if HAS_BIAS && channel < params.out_channels { return bias[channel_group * params.out_channels + channel]; }
    return 0.0;
}

// A row of the tile: four columns, for one of the channels.
fn store_row(plane: u32, place: TilePlace, row: u32, r: vec4<f32>) {
    store_pixels(plane, place.y * 4u + row, place.x * 4u, r);
}

// A pixel of the input, times the weights of four channels. What a forward pass pads with is multiplied too; in the gradient
// of its input a tap that met padding has no part.
fn products_at(plane: u32, y: i32, x: i32, w: vec4<f32>) -> vec4<f32> {
    if y >= 0 && x >= 0 && y < i32(params.in_height) && x < i32(params.in_width) {
        let i = (plane * params.in_height + u32(y)) * params.in_width + u32(x);
        return w * f32(input[i / 4u][i % 4u]);
    }
    if BACKWARD { return vec4(0.0); }
    return vec4(times_zero(w.x), times_zero(w.y), times_zero(w.z), times_zero(w.w));
}

// The weights of a channel that is read and of four that are written, at a tap; those that are missing are like the last.
fn weights_at(channel_group: u32, channel: u32, c: u32, tap: u32) -> vec4<f32> {
    var at = ((channel_group * params.out_channels + channel) * params.in_channels + c) * 9u + tap;
    var stride = params.in_channels * 9u;
    if BACKWARD {
        at = ((channel_group * params.in_channels + c) * params.out_channels + channel) * 9u + 8u - tap;
        stride = 9u;
    }
    let last = params.out_channels - channel - 1u;
    return vec4(
        f32(weight[at]),
        f32(weight[at + min(1u, last) * stride]),
        f32(weight[at + min(2u, last) * stride]),
        f32(weight[at + min(3u, last) * stride]),
    );
}

// Four pixels of a row of four channels, by the sums that define them.
fn direct(place: TilePlace, channel_group: u32, channel: u32, row: u32, in_channels: u32) -> Four {
    let x = i32(place.x * 4u) - i32(PAD_LEFT);
    var sum = Four();
    for (var c = 0u; c < in_channels; c++) {
        let plane = (place.n * params.groups + channel_group) * params.in_channels + c;
        for (var kh = 0u; kh < 3u; kh++) {
            let y = i32(place.y * 4u + row + kh) - i32(PAD_TOP);
            for (var kw = 0u; kw < 3u; kw++) {
                let w = weights_at(channel_group, channel, c, 3u * kh + kw);
                let first = x + i32(kw);
                sum.v0 += products_at(plane, y, first, w);
                sum.v1 += products_at(plane, y, first + 1, w);
                sum.v2 += products_at(plane, y, first + 2, w);
                sum.v3 += products_at(plane, y, first + 3, w);
            }
        }
    }
    return sum;
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let octet = group.y * 8u + thread / 8u;
    let lane = thread % 8u;
    let place = tile_place(params.first_tile + octet * 8u + lane);
    let channel_group = group.x / params.out_quads;
    let channel = (group.x - channel_group * params.out_quads) * 4u;
    if !place.inside || channel >= params.out_channels { return; }
    let all_quads = params.groups * params.out_quads;
    let stride = params.octets * all_quads * 8u;
    let at = (octet * all_quads + group.x) * 8u + lane;
    let c0 = load_column(at, stride);
    let c1 = load_column(at + stride, stride);
    let c2 = load_column(at + 2u * stride, stride);
    let c3 = load_column(at + 3u * stride, stride);
    let c4 = load_column(at + 4u * stride, stride);
    let c5 = load_column(at + 5u * stride, stride);
    let r0 = row_from_points(c0.v0, c1.v0, c2.v0, c3.v0, c4.v0, c5.v0);
    let r1 = row_from_points(c0.v1, c1.v1, c2.v1, c3.v1, c4.v1, c5.v1);
    let r2 = row_from_points(c0.v2, c1.v2, c2.v2, c3.v2, c4.v2, c5.v2);
    let r3 = row_from_points(c0.v3, c1.v3, c2.v3, c3.v3, c4.v3, c5.v3);

    let most = exponents(exponents(exponents(exponents(vec4(0u), r0), r1), r2), r3);
    let plane = (place.n * params.groups + channel_group) * params.out_channels + channel;
    let channels = min(params.out_channels - channel, 4u);
    // Quads are filled up with channels that may hold anything.
    let there = vec4(0u, 1u, 2u, 3u) < vec4(channels);
    if any(there & (most == vec4(0x7f800000u))) {
        let in_channels = loop_bound(params.in_channels, group);
        for (var row = 0u; row < 4u; row++) {
            let r = direct(place, channel_group, channel, row, in_channels);
            for (var i = 0u; i < channels; i++) {
                let b = vec4(bias_of(channel_group, channel + i));
                store_row(plane + i, place, row, vec4(r.v0[i], r.v1[i], r.v2[i], r.v3[i]) + b);
            }
        }
        return;
    }
    for (var i = 0u; i < channels; i++) {
        let b = vec4(bias_of(channel_group, channel + i));
        store_row(plane + i, place, 0u, vec4(r0.v0[i], r0.v1[i], r0.v2[i], r0.v3[i]) + b);
        store_row(plane + i, place, 1u, vec4(r1.v0[i], r1.v1[i], r1.v2[i], r1.v3[i]) + b);
        store_row(plane + i, place, 2u, vec4(r2.v0[i], r2.v1[i], r2.v2[i], r2.v3[i]) + b);
        store_row(plane + i, place, 3u, vec4(r3.v0[i], r3.v1[i], r3.v2[i], r3.v3[i]) + b);
    }
}
