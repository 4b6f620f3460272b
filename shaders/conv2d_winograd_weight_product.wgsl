// The weight gradient of a convolution by Winograd's algorithm, third of four: at each of the points, the products of the
// output's gradient and the input, summed over a chunk's tiles, for subgroups of exactly 8 lanes.
//
// A subgroup has 32 channels of the input and 32 of the output, or 16: a lane has 4 of the former and all of the latter. Of eight
// tiles at a time, each lane loads the input in its own channels, and one tile's gradient, which it shares by broadcast.
//
// Grid   x: groups * tiles of output channels; y: ceil(IC / 32); z: points

@group(0) @binding(0) var<storage, read> values: array<vec4<f32>>;     // (points, octet, G * IC / 4, 8 tiles, 4 channels)
@group(0) @binding(1) var<storage, read> gradients: array<vec4<f32>>;  // (points, octet, G * OC / 4, 8 tiles, 4 channels)
@group(0) @binding(2) var<storage, read_write> sums: array<vec4<f32>>; // (points, G * OC, filled up, IC / 4)
@group(0) @binding(3) var<uniform> params: Params;

// 32 channels of the output rather than 16.
override WIDE: bool = false;

struct Four { v0: vec4<f32>, v1: vec4<f32>, v2: vec4<f32>, v3: vec4<f32> }

// The gradients of four channels in four of the input's.
fn plus(sum: Four, g: vec4<f32>, v: vec4<f32>) -> Four {
    return Four(sum.v0 + g.x * v, sum.v1 + g.y * v, sum.v2 + g.z * v, sum.v3 + g.w * v);
}

// The input of a lane's channels in eight tiles.
struct Eight {
    v0: vec4<f32>, v1: vec4<f32>, v2: vec4<f32>, v3: vec4<f32>,
    v4: vec4<f32>, v5: vec4<f32>, v6: vec4<f32>, v7: vec4<f32>,
}

// With those of eight tiles, whose gradient each lane has of one.
fn plus_octet(sum: Four, g: vec4<f32>, v: Eight) -> Four {
    let a = plus(plus(sum, subgroupBroadcast(g, 0u), v.v0), subgroupBroadcast(g, 1u), v.v1);
    let b = plus(plus(a, subgroupBroadcast(g, 2u), v.v2), subgroupBroadcast(g, 3u), v.v3);
    let c = plus(plus(b, subgroupBroadcast(g, 4u), v.v4), subgroupBroadcast(g, 5u), v.v5);
    return plus(plus(c, subgroupBroadcast(g, 6u), v.v6), subgroupBroadcast(g, 7u), v.v7);
}

// One of four channels of the output, with what the chunks before have come to.
fn store_sum(at: u32, row: u32, sum: Four) {
    var all = sum.v0;
    if row == 1u { all = sum.v1; }
    if row == 2u { all = sum.v2; }
    if row == 3u { all = sum.v3; }
    if params.first_tile > 0u { all = sums[at] + all; }
    sums[at] = all;
}

@compute @workgroup_size(8)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(subgroup_invocation_id) lane: u32,
) {
    let quads_of_tile = select(4u, 8u, WIDE);
    let tiles = params.out_quads / quads_of_tile;
    let channel_group = group.x / tiles;
    let first_quad = (group.x - channel_group * tiles) * quads_of_tile;
    let in_quads = (params.in_channels + 3u) / 4u;
    let out_quads = (params.out_channels + 3u) / 4u;
    let own_quad = group.y * 8u + lane;
    // What is missing is like the last one, and what comes of it is not read.
    let in_quad = min(own_quad, in_quads - 1u);
    let value_stride = params.groups * in_quads * 8u;
    let gradient_stride = params.groups * out_quads * 8u;
    var value = group.z * params.octets * value_stride + (channel_group * in_quads + in_quad) * 8u;
    let gradient = group.z * params.octets * gradient_stride + channel_group * out_quads * 8u + lane;
    let last = out_quads - 1u;
    var g0 = gradient + min(first_quad, last) * 8u;
    var g1 = gradient + min(first_quad + 1u, last) * 8u;
    var g2 = gradient + min(first_quad + 2u, last) * 8u;
    var g3 = gradient + min(first_quad + 3u, last) * 8u;
    var g4 = gradient + min(first_quad + 4u, last) * 8u;
    var g5 = gradient + min(first_quad + 5u, last) * 8u;
    var g6 = gradient + min(first_quad + 6u, last) * 8u;
    var g7 = gradient + min(first_quad + 7u, last) * 8u;
    var s0 = Four();
    var s1 = Four();
    var s2 = Four();
    var s3 = Four();
    var s4 = Four();
    var s5 = Four();
    var s6 = Four();
    var s7 = Four();
    let turns = loop_bound(params.chunk_octets, group);
    for (var octet = 0u; octet < turns; octet++) {
        let v = Eight(
            values[value], values[value + 1u], values[value + 2u], values[value + 3u],
            values[value + 4u], values[value + 5u], values[value + 6u], values[value + 7u],
        );
        let to = octet * gradient_stride;
        s0 = plus_octet(s0, gradients[g0 + to], v);
        s1 = plus_octet(s1, gradients[g1 + to], v);
        s2 = plus_octet(s2, gradients[g2 + to], v);
        s3 = plus_octet(s3, gradients[g3 + to], v);
        if WIDE {
            s4 = plus_octet(s4, gradients[g4 + to], v);
            s5 = plus_octet(s5, gradients[g5 + to], v);
            s6 = plus_octet(s6, gradients[g6 + to], v);
            s7 = plus_octet(s7, gradients[g7 + to], v);
        }
        value += value_stride;
    }
    if own_quad >= in_quads { return; }
    let all_rows = params.groups * params.out_quads * 4u;
    let row = (channel_group * params.out_quads + first_quad) * 4u;
    let at = (group.z * all_rows + row) * in_quads + own_quad;
    // A loop that compilers do not unroll: see core/product_subgroup.wgsl.
    for (var own = 0u; own < loop_bound(4u, group); own++) {
        let to = at + own * in_quads;
        store_sum(to, own, s0);
        store_sum(to + 4u * in_quads, own, s1);
        store_sum(to + 8u * in_quads, own, s2);
        store_sum(to + 12u * in_quads, own, s3);
        if WIDE {
            store_sum(to + 16u * in_quads, own, s4);
            store_sum(to + 20u * in_quads, own, s5);
            store_sum(to + 24u * in_quads, own, s6);
            store_sum(to + 28u * in_quads, own, s7);
        }
    }
}
