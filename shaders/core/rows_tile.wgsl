
// 16 output channels of a strip of 4 pixels, in every lane of a subgroup of 8: the accumulators of
// core/rows.wgsl and core/strided.wgsl.
//
// Uses the kernel's buffers `packed_weight`, array<vec4<Packed>>, and `bias`, array<f32>.
// Calls  store_output(n, channel, y, x, vec4)

// The extents of the convolution that runs here; channels are those of one group. A group of an image is as
// an image of its own, so `n` is one of batch * groups.
struct Params {
    batch: u32,
    groups: u32,
    in_channels: u32,
    in_height: u32,
    in_width: u32,
    out_channels: u32,
    out_height: u32,
    out_width: u32,
}

override HAS_BIAS: bool = false;
// A group has at most 8 channels to write: the other half of a tile is left out.
override HALF: bool = false;

// Packed as (channel tile, ic, kh, kw, 16 channels).
fn load_weight(i: u32) -> vec4<f32> {
    return vec4<f32>(packed_weight[i]);
}

// What the sums of a group's channel start from.
fn initial_output(group: u32, channel: u32) -> f32 {
    var v = 0.0;
    if HAS_BIAS && channel < params.out_channels { v = bias[group * params.out_channels + channel]; }
    return v;
}

struct Tile {
    c0: vec4<f32>, c1: vec4<f32>, c2: vec4<f32>, c3: vec4<f32>,
    c4: vec4<f32>, c5: vec4<f32>, c6: vec4<f32>, c7: vec4<f32>,
    c8: vec4<f32>, c9: vec4<f32>, c10: vec4<f32>, c11: vec4<f32>,
    c12: vec4<f32>, c13: vec4<f32>, c14: vec4<f32>, c15: vec4<f32>,
}

// One tap: 16 weights (a to d) times 4 pixels.
fn tap(t: Tile, a: vec4<f32>, b: vec4<f32>, c: vec4<f32>, d: vec4<f32>, p: vec4<f32>) -> Tile {
    if HALF {
        return Tile(
            t.c0 + a.x * p, t.c1 + a.y * p, t.c2 + a.z * p, t.c3 + a.w * p,
            t.c4 + b.x * p, t.c5 + b.y * p, t.c6 + b.z * p, t.c7 + b.w * p,
            t.c8, t.c9, t.c10, t.c11, t.c12, t.c13, t.c14, t.c15,
        );
    }
    return Tile(
        t.c0 + a.x * p, t.c1 + a.y * p, t.c2 + a.z * p, t.c3 + a.w * p,
        t.c4 + b.x * p, t.c5 + b.y * p, t.c6 + b.z * p, t.c7 + b.w * p,
        t.c8 + c.x * p, t.c9 + c.y * p, t.c10 + c.z * p, t.c11 + c.w * p,
        t.c12 + d.x * p, t.c13 + d.y * p, t.c14 + d.z * p, t.c15 + d.w * p,
    );
}

// A vec4 in each of 8 lanes holds the 16 channels of two taps: lanes 0-3 and lanes 4-7.
fn tap_low(t: Tile, w: vec4<f32>, p: vec4<f32>) -> Tile {
    return tap(t, subgroupBroadcast(w, 0u), subgroupBroadcast(w, 1u), subgroupBroadcast(w, 2u), subgroupBroadcast(w, 3u), p);
}
fn tap_high(t: Tile, w: vec4<f32>, p: vec4<f32>) -> Tile {
    return tap(t, subgroupBroadcast(w, 4u), subgroupBroadcast(w, 5u), subgroupBroadcast(w, 6u), subgroupBroadcast(w, 7u), p);
}

// Sums of a group's channels from `o` on, which start from the bias: two channels a lane, shared.
fn initial_tile(group: u32, o: u32, lane: u32) -> Tile {
    let b0 = initial_output(group, o + lane);
    let b1 = initial_output(group, o + 8u + lane);
    return Tile(
        vec4(subgroupBroadcast(b0, 0u)), vec4(subgroupBroadcast(b0, 1u)), vec4(subgroupBroadcast(b0, 2u)), vec4(subgroupBroadcast(b0, 3u)),
        vec4(subgroupBroadcast(b0, 4u)), vec4(subgroupBroadcast(b0, 5u)), vec4(subgroupBroadcast(b0, 6u)), vec4(subgroupBroadcast(b0, 7u)),
        vec4(subgroupBroadcast(b1, 0u)), vec4(subgroupBroadcast(b1, 1u)), vec4(subgroupBroadcast(b1, 2u)), vec4(subgroupBroadcast(b1, 3u)),
        vec4(subgroupBroadcast(b1, 4u)), vec4(subgroupBroadcast(b1, 5u)), vec4(subgroupBroadcast(b1, 6u)), vec4(subgroupBroadcast(b1, 7u)),
    );
}

// Four channels of a tile.
struct Quad { c0: vec4<f32>, c1: vec4<f32>, c2: vec4<f32>, c3: vec4<f32> }

// In a loop that compilers do not unroll: see core/product_subgroup.wgsl.
fn store_tile(n: u32, o: u32, y: u32, x: u32, t: Tile, group: vec3<u32>) {
    for (var i = 0u; i < loop_bound(select(4u, 2u, HALF), group); i++) {
        var q = Quad(t.c0, t.c1, t.c2, t.c3);
        if i == 1u { q = Quad(t.c4, t.c5, t.c6, t.c7); }
        if !HALF {
            if i == 2u { q = Quad(t.c8, t.c9, t.c10, t.c11); }
            if i == 3u { q = Quad(t.c12, t.c13, t.c14, t.c15); }
        }
        let first = o + 4u * i;
        store_output(n, first, y, x, q.c0);
        store_output(n, first + 1u, y, x, q.c1);
        store_output(n, first + 2u, y, x, q.c2);
        store_output(n, first + 3u, y, x, q.c3);
    }
}
