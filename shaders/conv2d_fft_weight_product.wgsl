// The weight gradient of a convolution by Fourier transforms: at each frequency, the product of the blocks of the input and
// of the output gradient's tiles, conjugate, summed over a chunk's tiles. An invocation has a frequency, with the opposite
// one, of four channels on either side, of a part of the filter.
//
// Grid   x: 64 of the frequencies; y: groups * ceil(OC / 4) * ceil(IC / 4), z: the parts of the filter

@group(0) @binding(0) var<storage, read> values: array<vec4<f32>>;     // (tile, G * ceil(IC / 4), 2048)
@group(0) @binding(1) var<storage, read> gradients: array<vec4<f32>>;  // (tile, G * ceil(OC / 4), 2048)
@group(0) @binding(2) var<storage, read_write> sums: array<vec4<f32>>; // (part, O, ceil(IC / 4), 2048)
@group(0) @binding(3) var<uniform> params: Params;

// Whether the sums go on from those of the chunks before.
override CONTINUED: bool = false;

// A conjugate number times those of four channels.
fn plus(sum: Pairs, g: vec2<f32>, x: Pairs) -> Pairs {
    return Pairs(
        sum.low + g.x * x.low + g.y * vec4(x.low.y, -x.low.x, x.low.w, -x.low.z),
        sum.high + g.x * x.high + g.y * vec4(x.high.y, -x.high.x, x.high.w, -x.high.z),
    );
}

fn store_pairs(at: u32, f: Frequency, sum: Pairs) {
    var here = together(sum);
    if CONTINUED { here += sums[at + f.at]; }
    sums[at + f.at] = here;
    if f.opposite == f.at { return; }
    var there = together_opposite(sum);
    if CONTINUED { there += sums[at + f.opposite]; }
    sums[at + f.opposite] = there;
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
    let row = group.y / in_quads; // of the groups' quads of output channels
    let in_quad = group.y - row * in_quads;
    let channel_group = row / out_quads;
    let channel = (row - channel_group * out_quads) * 4u;
    let down = group.z / params.parts_across;
    let behind = down * params.tiles_across + group.z - down * params.parts_across;
    var s0 = Pairs(vec4(0.0), vec4(0.0));
    var s1 = s0;
    var s2 = s0;
    var s3 = s0;
    let tiles = loop_bound(params.chunk_tiles, group);
    for (var tile = 0u; tile < tiles; tile++) {
        if !has_results(tile_of(params.first_tile + tile)) { continue; }
        let at = ((tile + behind) * params.groups * in_quads + channel_group * in_quads + in_quad) * POINTS;
        let x = apart(values[at + f.at], values[at + f.opposite]);
        let gradient_at = (tile * params.groups * out_quads + row) * POINTS;
        let g = apart(gradients[gradient_at + f.at], gradients[gradient_at + f.opposite]);
        s0 = plus(s0, g.low.xy, x);
        s1 = plus(s1, g.low.zw, x);
        s2 = plus(s2, g.high.xy, x);
        s3 = plus(s3, g.high.zw, x);
    }
    let stride = in_quads * POINTS;
    let filter_row = group.z * params.groups * params.out_channels + channel_group * params.out_channels + channel;
    let to = (filter_row * in_quads + in_quad) * POINTS;
    store_pairs(to, f, s0);
    if channel + 1u < params.out_channels { store_pairs(to + stride, f, s1); }
    if channel + 2u < params.out_channels { store_pairs(to + 2u * stride, f, s2); }
    if channel + 3u < params.out_channels { store_pairs(to + 3u * stride, f, s3); }
}
