// The filters (O, I, 3, 3), or (O, I, 1, 3), of a Winograd convolution at the points of core/winograd_points.wgsl, where
// octets of channels that are written and quads of those that are read are filled up with zeros:
//   MATRICES = false  (points, group, octet that is written, quad that is read, 8, 4)
//   MATRICES = true   (points, group, channel that is read, channel that is written)
//   backward = 0  conv2d forward:        o is written, i is read
//   backward = 1  conv2d backward input: i is written, o is read, filter flipped both ways
// One invocation transforms the filter of a channel that is written and one that is read. What comes of it is f32
// whatever it is.
// Grid   ceil(groups * octets * 8 * quads * 4 / 64), folded

@group(0) @binding(0) var<storage, read> weight: array<Weight>; // (O, I, taps)
@group(0) @binding(1) var<storage, read_write> values: array<f32>;

// Channels are those of one group.
struct Params {
    groups: u32,
    in_channels: u32,  // that are read
    out_channels: u32, // that are written
    octets: u32,       // of these, filled up
    backward: u32,
}
@group(0) @binding(2) var<uniform> params: Params;

override MATRICES: bool = false;

// A pair of channels of a group, one that is read and one that is written.
struct Pair { channel_group: u32, o: u32, i: u32 }

// Whose filter is at a place among those of a point.
fn pair_at(at: u32) -> Pair {
    let quads = (params.in_channels + 3u) / 4u;
    if MATRICES {
        let row = at / (params.octets * 8u);
        let channel_group = row / (quads * 4u);
        return Pair(channel_group, at - row * params.octets * 8u, row - channel_group * quads * 4u);
    }
    let octet = at / 32u / quads;
    let channel_group = octet / params.octets;
    let o = (octet - channel_group * params.octets) * 8u + at / 4u % 8u;
    return Pair(channel_group, o, (at / 32u - octet * quads) * 4u + at % 4u);
}

// Where the filter of a pair of channels lies, if there is one; and the first filter where there is none.
struct Filter { at: u32, there: bool }

fn filter_of(pair: Pair) -> Filter {
    let there = pair.o < params.out_channels && pair.i < params.in_channels;
    var at = ((pair.channel_group * params.out_channels + pair.o) * params.in_channels + pair.i) * taps_of_filter();
    if params.backward != 0u {
        at = ((pair.channel_group * params.in_channels + pair.i) * params.out_channels + pair.o) * taps_of_filter();
    }
    return Filter(select(0u, at, there), there);
}

// Loaded in any case: a driver takes long over a branch for each of so many.
fn tap(f: Filter, at: u32) -> f32 {
    return select(0.0, f32(weight[f.at + select(at, taps_of_filter() - 1u - at, params.backward != 0u)]), f.there);
}

// A row of a filter at the points.
fn row_at_points(f: Filter, row: u32) -> Six {
    return weight_at_points(tap(f, 3u * row), tap(f, 3u * row + 1u), tap(f, 3u * row + 2u));
}

// The points' values of one column of points, of which a row's are a stride apart.
fn store_column(at: u32, stride: u32, g0: f32, g1: f32, g2: f32) {
    store_six(at, 6u * stride, weight_at_points(g0, g1, g2));
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let at = flat_index(group, 64u, thread);
    let pair = pair_at(at);
    if pair.channel_group >= params.groups { return; }
    let f = filter_of(pair);
    let stride = params.groups * params.octets * ((params.in_channels + 3u) / 4u) * 32u;
    let r0 = row_at_points(f, 0u);
    if ONE_ROW {
        store_six(at, stride, r0);
        return;
    }
    let r1 = row_at_points(f, 1u);
    let r2 = row_at_points(f, 2u);
    store_column(at, stride, r0.v0, r1.v0, r2.v0);
    store_column(at + stride, stride, r0.v1, r1.v1, r2.v1);
    store_column(at + 2u * stride, stride, r0.v2, r1.v2, r2.v2);
    store_column(at + 3u * stride, stride, r0.v3, r1.v3, r2.v3);
    store_column(at + 4u * stride, stride, r0.v4, r1.v4, r2.v4);
    store_column(at + 5u * stride, stride, r0.v5, r1.v5, r2.v5);
}
