
// Tiles of 4x4 results, or of 1x4, from the sums at the points of core/winograd_points.wgsl, with the bias. An invocation
// has one tile and one channel.
//
// A NaN or an infinity among its pixels or weights, or an overflow on the way, leaves no result of a tile as it should be,
// and at least one of them not finite: such a tile is computed again by its definition.
//
// A kernel provides the buffers `sums`, `bias`, `input` and `weight`, and
//   store_pixels(plane, y, x, sum)   up to four pixels of one row of a plane, those that are inside
//
// Grid   x: groups * quads of channels, filled up; y: 16 of the chunk's tiles

// The sums at six points, each a stride after the one before.
fn load_six(at: u32, stride: u32) -> Six {
    return Six(
        sums[at],
        sums[at + stride],
        sums[at + 2u * stride],
        sums[at + 3u * stride],
        sums[at + 4u * stride],
        sums[at + 5u * stride],
    );
}

// Those of one column of points, of which a row's are a stride apart.
fn load_column(at: u32, stride: u32) -> Four {
    return output_from_points(load_six(at, 6u * stride));
}

// Four columns of a row.
fn row_from_points(c0: f32, c1: f32, c2: f32, c3: f32, c4: f32, c5: f32) -> vec4<f32> {
    let row = output_from_points(Six(c0, c1, c2, c3, c4, c5));
    return vec4(row.v0, row.v1, row.v2, row.v3);
}

// The rows of a tile.
struct Rows { r0: vec4<f32>, r1: vec4<f32>, r2: vec4<f32>, r3: vec4<f32> }

fn rows_from_points(at: u32, stride: u32) -> Rows {
    let c0 = load_column(at, stride);
    let c1 = load_column(at + stride, stride);
    let c2 = load_column(at + 2u * stride, stride);
    let c3 = load_column(at + 3u * stride, stride);
    let c4 = load_column(at + 4u * stride, stride);
    let c5 = load_column(at + 5u * stride, stride);
    return Rows(
        row_from_points(c0.v0, c1.v0, c2.v0, c3.v0, c4.v0, c5.v0),
        row_from_points(c0.v1, c1.v1, c2.v1, c3.v1, c4.v1, c5.v1),
        row_from_points(c0.v2, c1.v2, c2.v2, c3.v2, c4.v2, c5.v2),
        row_from_points(c0.v3, c1.v3, c2.v3, c3.v3, c4.v3, c5.v3),
    );
}

// The larger exponents.
fn exponents(a: vec4<f32>, b: vec4<f32>) -> vec4<u32> {
    let mask = vec4(0x7f800000u);
    return max(bitcast<vec4<u32>>(a) & mask, bitcast<vec4<u32>>(b) & mask);
}

// The weight of a channel that is read and one that is written, at a tap.
fn weight_at(channel_group: u32, channel: u32, c: u32, tap: u32) -> f32 {
    let first = channel_group * params.out_channels;
    let of_input = (channel_group * params.in_channels + c) * params.out_channels + channel;
    let of_output = (first + channel) * params.in_channels + c;
    let backward = params.backward != 0u;
    let own = select(tap, taps_of_filter() - 1u - tap, backward);
    return f32(weight[select(of_output, of_input, backward) * taps_of_filter() + own]);
}

// Four pixels of a row, by the sums that define them: one of the input's at a time, times the taps that meet it there. What a
// forward pass pads with is multiplied too; in the gradient of its input a tap that met padding has no part. Few loads, as some
// drivers go through a branch without invocations.
fn direct(place: TilePlace, channel_group: u32, channel: u32, row: u32, in_channels: u32) -> vec4<f32> {
    let x = i32(place.x * 4u) - i32(params.pad_left);
    var sum = vec4<f32>();
    for (var c = 0u; c < in_channels; c++) {
        let plane = (place.n * params.groups + channel_group) * params.in_channels + c;
        for (var kh = 0u; kh < taps_of_filter() / 3u; kh++) {
            let y = i32(place.y * rows_of_tile() + row + kh) - i32(params.pad_top);
            var w = vec4<f32>();
            // By two, as drivers bound the turns of all loops together.
            for (var at = 0u; at < 6u; at += 2u) {
                w = vec4(weight_at(channel_group, channel, c, 3u * kh + min(at, 2u)), w.xyz);
                sum += select(vec4<f32>(), products_at(plane, y, x + i32(at), w), is_tap(at));
                w = vec4(weight_at(channel_group, channel, c, 3u * kh + min(at + 1u, 2u)), w.xyz);
                sum += select(vec4<f32>(), products_at(plane, y, x + i32(at + 1u), w), is_tap(at + 1u));
            }
        }
    }
    return sum;
}

// Whether one of the input's pixels meets a filter that begins at each of four.
fn is_tap(at: u32) -> vec4<bool> {
    return vec4(at) - vec4(0u, 1u, 2u, 3u) < vec4(3u); // below 0 it wraps
}

// A pixel of the input, times weights.
fn products_at(plane: u32, y: i32, x: i32, w: vec4<f32>) -> vec4<f32> {
    if y >= 0 && x >= 0 && y < i32(params.in_height) && x < i32(params.in_width) {
        let i = (plane * params.in_height + u32(y)) * params.in_width + u32(x);
        return w * f32(input[i / 4u][i % 4u]);
    }
    let zeros = vec4(times_zero(w.x), times_zero(w.y), times_zero(w.z), times_zero(w.w));
    return select(zeros, vec4<f32>(), params.backward != 0u);
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let own = own_element(group, thread);
    let place = tile_place(params.first_tile + own.tile);
    let channel_group = own.quad / params.out_quads;
    let channel = (own.quad - channel_group * params.out_quads) * 4u + own.channel;
    if !place.inside || channel >= params.out_channels { return; }
    let all_quads = params.groups * params.out_quads;
    let stride = params.octets * all_quads * 32u;
    let at = place_in_layout(own, all_quads);
    var rows = Rows();
    if ONE_ROW {
        let s = load_six(at, stride);
        rows.r0 = row_from_points(s.v0, s.v1, s.v2, s.v3, s.v4, s.v5);
    } else {
        rows = rows_from_points(at, stride);
    }

    let most = max(exponents(rows.r0, rows.r1), exponents(rows.r2, rows.r3));
    let again = any(most == vec4(0x7f800000u));
    let in_channels = loop_bound(params.in_channels, group);
    let plane = (place.n * params.groups + channel_group) * params.out_channels + channel;
    var b = 0.0;
    if params.has_bias != 0u { b = bias[channel_group * params.out_channels + channel]; }
    // A loop that compilers do not unroll: see core/product_subgroup.wgsl.
    for (var row = 0u; row < loop_bound(rows_of_tile(), group); row++) {
        var r = rows.r0;
        if row == 1u { r = rows.r1; }
        if row == 2u { r = rows.r2; }
        if row == 3u { r = rows.r3; }
        if again { r = direct(place, channel_group, channel, row, in_channels); }
        store_pixels(plane, place.y * rows_of_tile() + row, place.x * 4u, r + vec4(b));
    }
}
