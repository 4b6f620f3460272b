
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

// One lane's value, in all lanes and for 4 pixels.
fn spread(v: f32, lane: u32) -> vec4<f32> {
    return vec4(subgroupShuffle(v, lane));
}

// Sums of a group's channels from `o` on, which start from the bias: two channels a lane, shared.
fn initial_tile(group: u32, o: u32, lane: u32) -> Tile {
    let b0 = initial_output(group, o + lane);
    let b1 = initial_output(group, o + 8u + lane);
    return Tile(
        spread(b0, 0u), spread(b0, 1u), spread(b0, 2u), spread(b0, 3u),
        spread(b0, 4u), spread(b0, 5u), spread(b0, 6u), spread(b0, 7u),
        spread(b1, 0u), spread(b1, 1u), spread(b1, 2u), spread(b1, 3u),
        spread(b1, 4u), spread(b1, 5u), spread(b1, 6u), spread(b1, 7u),
    );
}

fn store_tile(n: u32, o: u32, y: u32, x: u32, t: Tile) {
    store_output(n, o, y, x, t.c0);
    store_output(n, o + 1u, y, x, t.c1);
    store_output(n, o + 2u, y, x, t.c2);
    store_output(n, o + 3u, y, x, t.c3);
    store_output(n, o + 4u, y, x, t.c4);
    store_output(n, o + 5u, y, x, t.c5);
    store_output(n, o + 6u, y, x, t.c6);
    store_output(n, o + 7u, y, x, t.c7);
    if HALF { return; }
    store_output(n, o + 8u, y, x, t.c8);
    store_output(n, o + 9u, y, x, t.c9);
    store_output(n, o + 10u, y, x, t.c10);
    store_output(n, o + 11u, y, x, t.c11);
    store_output(n, o + 12u, y, x, t.c12);
    store_output(n, o + 13u, y, x, t.c13);
    store_output(n, o + 14u, y, x, t.c14);
    store_output(n, o + 15u, y, x, t.c15);
}
