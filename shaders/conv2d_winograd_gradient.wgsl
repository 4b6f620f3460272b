// The weight gradient of a convolution by Winograd's algorithm, F(3x3, 4x4) or F(3, 4), second of four: the tiles of the
// output's gradient at the points of core/winograd_points.wgsl, as conv2d_winograd_input.wgsl has those of the input. An
// invocation has one tile of 4x4 pixels, or of 1x4, and one channel.
//
// Grid   as in core/winograd_layout.wgsl

@group(0) @binding(0) var<storage, read> gradient_output: array<vec4<Gradient>>; // (N, G * OC, OH, OW)
@group(0) @binding(1) var<storage, read_write> values: array<f32>;               // core/winograd_layout.wgsl
@group(0) @binding(2) var<uniform> params: Params;

// Whether rows are whole vectors.
override WHOLE: bool = false;

// A tile of a plane, if there are both.
struct Place { plane: u32, tile: TilePlace, there: bool }

// A row of four pixels.
fn pixels(at: Place, row: u32) -> vec4<f32> {
    let y = at.tile.y * rows_of_tile() + row;
    let x = at.tile.x * 4u;
    if !at.there || y >= params.out_height { return vec4(0.0); }
    let i = (at.plane * params.out_height + y) * params.out_width + x;
    var a = vec4<f32>(gradient_output[i / 4u]);
    if WHOLE { return a; }
    let first = i % 4u;
    let there = min(params.out_width - x, 4u);
    let b = vec4<f32>(gradient_output[i / 4u + select(0u, 1u, first + there > 4u)]);
    let odd = (first & 1u) != 0u;
    let c = select(a, vec4(a.yzw, b.x), odd);
    let d = select(b, vec4(b.yzw, 0.0), odd);
    a = select(c, vec4(c.zw, d.xy), (first & 2u) != 0u);
    return select(vec4<f32>(), a, vec4(0u, 1u, 2u, 3u) < vec4(there));
}

fn row_at_points(at: Place, row: u32) -> Six {
    let p = pixels(at, row);
    return gradient_at_points(p.x, p.y, p.z, p.w);
}

// The points' values of one column of points, of which a row's are a stride apart.
fn store_column(at: u32, stride: u32, g0: f32, g1: f32, g2: f32, g3: f32) {
    store_six(at, 6u * stride, gradient_at_points(g0, g1, g2, g3));
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let own = own_element(group, thread);
    let quads = (params.out_channels + 3u) / 4u;
    let all_quads = params.groups * quads;
    if own.quad >= all_quads { return; }
    let tile = tile_place(params.first_tile + own.tile);
    let channel_group = own.quad / quads;
    let channel = (own.quad - channel_group * quads) * 4u + own.channel;
    let place = Place(
        (tile.n * params.groups + channel_group) * params.out_channels + channel,
        tile,
        tile.inside && channel < params.out_channels,
    );
    let stride = params.octets * all_quads * 32u;
    let at = place_in_layout(own, all_quads);
    let r0 = row_at_points(place, 0u);
    if ONE_ROW {
        store_six(at, stride, r0);
        return;
    }
    let r1 = row_at_points(place, 1u);
    let r2 = row_at_points(place, 2u);
    let r3 = row_at_points(place, 3u);
    store_column(at, stride, r0.v0, r1.v0, r2.v0, r3.v0);
    store_column(at + stride, stride, r0.v1, r1.v1, r2.v1, r3.v1);
    store_column(at + 2u * stride, stride, r0.v2, r1.v2, r2.v2, r3.v2);
    store_column(at + 3u * stride, stride, r0.v3, r1.v3, r2.v3, r3.v3);
    store_column(at + 4u * stride, stride, r0.v4, r1.v4, r2.v4, r3.v4);
    store_column(at + 5u * stride, stride, r0.v5, r1.v5, r2.v5, r3.v5);
}
