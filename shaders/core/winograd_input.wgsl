
// Tiles of 6x6 pixels, or of 1x6, at the points of core/winograd_points.wgsl: for core/winograd.wgsl.
//
// Calls  pixels(at, channel, in_row) -> Pixels   of one of four channels
// Uses the kernel's buffers `input`, array<vec4<Input>>, and `values`, array<f32>.

// What an invocation knows of its tile.
struct Place {
    plane: u32,  // the first of four
    planes: u32, // of these, how many there are
    y: i32,      // of the first of its pixels
    x: i32,
    inside: bool,
    column: u32, // the tile's among those of its row
    lane: u32,   // its place in an octet
}

// Pixels 0 to 3 of a row of six, and pixels 2 to 5.
struct Pixels { low: vec4<f32>, high: vec4<f32> }

// Quads of channels of all groups.
fn all_quads() -> u32 {
    return params.groups * ((params.in_channels + 3u) / 4u);
}

fn place_of(own: Element) -> Place {
    let tile = tile_place(params.first_tile + own.tile);
    let quads = (params.in_channels + 3u) / 4u;
    let channel_group = own.quad / quads;
    let channel = (own.quad - channel_group * quads) * 4u;
    return Place(
        (tile.n * params.groups + channel_group) * params.in_channels + channel,
        min(params.in_channels - channel, 4u),
        i32(tile.y * rows_of_tile()) - i32(params.pad_top),
        i32(tile.x * 4u) - i32(params.pad_left),
        tile.inside,
        tile.x,
        own.tile % 8u,
    );
}

// Which of all planes' rows it is, and whether there is such a row.
struct InputRow { row: u32, inside: bool }

fn input_row(at: Place, channel: u32, in_row: u32) -> InputRow {
    let y = at.y + i32(in_row);
    let inside = at.inside && channel < at.planes && y >= 0 && y < i32(params.in_height);
    return InputRow((at.plane + channel) * params.in_height + u32(y), inside);
}

// A row of six pixels from three vectors of the input, of which those are loaded that have a pixel of the row.
fn own_pixels(at: Place, in_row: InputRow) -> Pixels {
    let width = i32(params.in_width);
    let i = i32(in_row.row) * width + at.x;
    let first = i & 3;
    let vector = i >> 2u;
    let begin = first + max(-at.x, 0);
    let end = first + min(width - at.x, 6);
    var a = vec4<f32>();
    var b = vec4<f32>();
    var c = vec4<f32>();
    if in_row.inside && begin < end {
        if begin < 4 { a = vec4<f32>(input[vector]); }
        if begin < 8 && end > 4 { b = vec4<f32>(input[vector + 1]); }
        if end > 8 { c = vec4<f32>(input[vector + 2]); }
    }
    if (first & 1) != 0 {
        a = vec4(a.yzw, b.x);
        b = vec4(b.yzw, c.x);
        c = vec4(c.yzw, 0.0);
    }
    if (first & 2) != 0 {
        a = vec4(a.zw, b.xy);
        b = vec4(b.zw, c.xy);
    }
    let x = vec4(at.x) + vec4(0, 1, 2, 3);
    let more = x.zw + vec2(2);
    let low = select(vec4<f32>(), a, (x >= vec4(0)) & (x < vec4(width)));
    return Pixels(low, vec4(low.zw, select(vec2<f32>(), b.xy, (more >= vec2(0)) & (more < vec2(width)))));
}

// A row of six pixels at the points.
fn row_at_points(at: Place, channel: u32, row: u32) -> Six {
    let p = pixels(at, channel, row);
    return input_at_points(Six(p.low.x, p.low.y, p.low.z, p.low.w, p.high.z, p.high.w));
}

// The points' values of one column of points, of which a row's are a stride apart.
fn store_column(at: u32, stride: u32, column: Six) {
    store_six(at, 6u * stride, input_at_points(column));
}

// All of a tile of one channel, at its place.
fn tile_at_points(at: Place, own: Element) {
    let channel = own.channel;
    let stride = params.octets * all_quads() * 32u;
    let first = place_in_layout(own, all_quads());
    let r0 = row_at_points(at, channel, 0u);
    if ONE_ROW {
        store_six(first, stride, r0);
        return;
    }
    let r1 = row_at_points(at, channel, 1u);
    let r2 = row_at_points(at, channel, 2u);
    let r3 = row_at_points(at, channel, 3u);
    let r4 = row_at_points(at, channel, 4u);
    let r5 = row_at_points(at, channel, 5u);
    store_column(first, stride, Six(r0.v0, r1.v0, r2.v0, r3.v0, r4.v0, r5.v0));
    store_column(first + stride, stride, Six(r0.v1, r1.v1, r2.v1, r3.v1, r4.v1, r5.v1));
    store_column(first + 2u * stride, stride, Six(r0.v2, r1.v2, r2.v2, r3.v2, r4.v2, r5.v2));
    store_column(first + 3u * stride, stride, Six(r0.v3, r1.v3, r2.v3, r3.v3, r4.v3, r5.v3));
    store_column(first + 4u * stride, stride, Six(r0.v4, r1.v4, r2.v4, r3.v4, r4.v4, r5.v4));
    store_column(first + 5u * stride, stride, Six(r0.v5, r1.v5, r2.v5, r3.v5, r4.v5, r5.v5));
}
