// Winograd convolution, second of three: at each of the points, the sums over the channels that are read, for
// subgroups of exactly 8 lanes.
//
// A subgroup has 64 tiles and 32 channels that are written, or 16: a lane has 8 of the tiles, a vec4 for each half of
// them, and all of the channels. Four channels that are read at a time, each lane loads its tiles' values of them and
// the weights of 4 channels that are written, which it shares by broadcast: 12 loads for 1024 multiply-adds.
//
// Grid   x: groups * tiles of channels; y: 64 tiles of the chunk; z: points

@group(0) @binding(0) var<storage, read> values: array<vec4<f32>>;        // (points, octet, G * IC / 4, 8 tiles, 4 channels)
@group(0) @binding(1) var<storage, read> weights: array<vec4<f32>>;       // (points, group, octet, IC / 4, 8, 4)
@group(0) @binding(2) var<storage, read_write> sums: array<vec4<f32>>;    // (points, octet, G * OC / 4, 8 tiles, 4 channels)
@group(0) @binding(3) var<uniform> params: Params;

// 32 channels rather than 16.
override WIDE: bool = false;

struct Eight {
    c0: vec4<f32>, c1: vec4<f32>, c2: vec4<f32>, c3: vec4<f32>,
    c4: vec4<f32>, c5: vec4<f32>, c6: vec4<f32>, c7: vec4<f32>,
}

// The weights of 8 channels in all lanes.
fn shared_weights(w: vec4<f32>) -> Eight {
    return Eight(
        subgroupBroadcast(w, 0u), subgroupBroadcast(w, 1u), subgroupBroadcast(w, 2u), subgroupBroadcast(w, 3u),
        subgroupBroadcast(w, 4u), subgroupBroadcast(w, 5u), subgroupBroadcast(w, 6u), subgroupBroadcast(w, 7u),
    );
}

struct Four { v0: vec4<f32>, v1: vec4<f32>, v2: vec4<f32>, v3: vec4<f32> }

// The values of four tiles, a vector of them for each of four channels.
fn load_tiles(at: u32, stride: u32) -> Four {
    let a = values[at];
    let b = values[at + stride];
    let c = values[at + 2u * stride];
    let d = values[at + 3u * stride];
    return Four(
        vec4(a.x, b.x, c.x, d.x),
        vec4(a.y, b.y, c.y, d.y),
        vec4(a.z, b.z, c.z, d.z),
        vec4(a.w, b.w, c.w, d.w),
    );
}

fn dot4(w: vec4<f32>, v: Four) -> vec4<f32> {
    return w.x * v.v0 + w.y * v.v1 + w.z * v.v2 + w.w * v.v3;
}

fn multiply_add(t: Eight, w: Eight, v: Four) -> Eight {
    return Eight(
        t.c0 + dot4(w.c0, v), t.c1 + dot4(w.c1, v), t.c2 + dot4(w.c2, v), t.c3 + dot4(w.c3, v),
        t.c4 + dot4(w.c4, v), t.c5 + dot4(w.c5, v), t.c6 + dot4(w.c6, v), t.c7 + dot4(w.c7, v),
    );
}

// 8 channels of one of four tiles.
fn store_tile(at: u32, tile: u32, t: Eight) {
    sums[at] = vec4(t.c0[tile], t.c1[tile], t.c2[tile], t.c3[tile]);
    sums[at + 8u] = vec4(t.c4[tile], t.c5[tile], t.c6[tile], t.c7[tile]);
}

@compute @workgroup_size(8)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(subgroup_invocation_id) lane: u32,
) {
    let octets_of_tile = select(2u, 4u, WIDE);
    let tiles = params.out_quads / (octets_of_tile * 2u);
    let channel_group = group.x / tiles;
    let quads = (params.in_channels + 3u) / 4u;
    let all_quads = params.groups * quads;
    let value_stride = all_quads * 8u;
    var value = ((group.z * params.octets + group.y * 8u) * all_quads + channel_group * quads) * 8u + lane;
    let weight_stride = quads * 8u;
    var weight = (group.z * params.groups * tiles + group.x) * octets_of_tile * weight_stride + lane;

    // Channels 0 to 7, 8 to 15, 16 to 23 and 24 to 31; tiles of the first half and of the second.
    var a0 = Eight();
    var b0 = Eight();
    var c0 = Eight();
    var d0 = Eight();
    var a1 = Eight();
    var b1 = Eight();
    var c1 = Eight();
    var d1 = Eight();
    let turns = loop_bound(quads, group);
    for (var quad = 0u; quad < turns; quad++) {
        let v0 = load_tiles(value, value_stride);
        let v1 = load_tiles(value + 4u * value_stride, value_stride);
        let wa = shared_weights(weights[weight]);
        a0 = multiply_add(a0, wa, v0);
        a1 = multiply_add(a1, wa, v1);
        let wb = shared_weights(weights[weight + weight_stride]);
        b0 = multiply_add(b0, wb, v0);
        b1 = multiply_add(b1, wb, v1);
        if WIDE {
            let wc = shared_weights(weights[weight + 2u * weight_stride]);
            c0 = multiply_add(c0, wc, v0);
            c1 = multiply_add(c1, wc, v1);
            let wd = shared_weights(weights[weight + 3u * weight_stride]);
            d0 = multiply_add(d0, wd, v0);
            d1 = multiply_add(d1, wd, v1);
        }
        value += 8u;
        weight += 8u;
    }

    let all_out_quads = params.groups * params.out_quads;
    let stride = all_out_quads * 8u;
    let at = ((group.z * params.octets + group.y * 8u) * all_out_quads + group.x * octets_of_tile * 2u) * 8u + lane;
    // A loop that compilers do not unroll: see core/product_subgroup.wgsl.
    for (var tile = 0u; tile < loop_bound(4u, group); tile++) {
        let to0 = at + tile * stride;
        let to1 = to0 + 4u * stride;
        store_tile(to0, tile, a0);
        store_tile(to1, tile, a1);
        store_tile(to0 + 16u, tile, b0);
        store_tile(to1 + 16u, tile, b1);
        if WIDE {
            store_tile(to0 + 32u, tile, c0);
            store_tile(to1 + 32u, tile, c1);
            store_tile(to0 + 48u, tile, d0);
            store_tile(to1 + 48u, tile, d1);
        }
    }
}
