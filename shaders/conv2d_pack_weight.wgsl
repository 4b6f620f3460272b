// Packs a filter (O, I, KH, KW) for core/rows.wgsl and core/strided.wgsl:
// (group, channel tile, ic, kh, kw padded, 16 channels), where channels are those that the convolution writes, and missing ones are zero.
//   backward = 0  conv2d forward:        channel = o, ic = i
//   backward = 1  conv2d backward input: channel = i, ic = o, filter flipped both ways
// One invocation packs one tap of one input channel: 16 floats. Grid: ceil(groups * tiles * ic * KH * padded / 64).

@group(0) @binding(0) var<storage, read> weight: array<Weight>; // (O, I, KH, KW)
@group(0) @binding(1) var<storage, read_write> packed_weight: array<vec4<Packed>>;

// Channels are those of one group.
struct Params {
    groups: u32,
    in_channels: u32,  // of the convolution that will run: O for an input gradient
    out_channels: u32, // I for an input gradient
    backward: u32,
}
@group(0) @binding(2) var<uniform> params: Params;

override KERNEL_H: u32 = 3u;
override KERNEL_W: u32 = 3u;

fn load(channel_group: u32, channel: u32, ic: u32, kh: u32, kw: u32) -> f32 {
    if channel >= params.out_channels || kw >= KERNEL_W { return 0.0; }
    var at = (((channel_group * params.out_channels + channel) * params.in_channels + ic) * KERNEL_H + kh) * KERNEL_W + kw;
    if params.backward != 0u {
        at = (((channel_group * params.in_channels + ic) * params.out_channels + channel) * KERNEL_H + KERNEL_H - 1u - kh) * KERNEL_W + KERNEL_W - 1u - kw;
    }
    return f32(weight[at]);
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let at = flat_index(group, 64u, thread);
    let taps = select(4u, KERNEL_W, KERNEL_W <= 5u);
    let padded = (KERNEL_W + taps - 1u) / taps * taps;
    let row = at / padded;
    let kw = at - row * padded;
    let plane = row / KERNEL_H;
    let kh = row - plane * KERNEL_H;
    let any_tile = plane / params.in_channels;
    let ic = plane - any_tile * params.in_channels;
    let tiles = (params.out_channels + 15u) / 16u;
    let channel_group = any_tile / tiles;
    let tile = any_tile - channel_group * tiles;
    if channel_group >= params.groups { return; }
    for (var q = 0u; q < 4u; q++) {
        let channel = tile * 16u + q * 4u;
        packed_weight[at * 4u + q] = vec4<Packed>(vec4(
            load(channel_group, channel, ic, kh, kw), load(channel_group, channel + 1u, ic, kh, kw),
            load(channel_group, channel + 2u, ic, kh, kw), load(channel_group, channel + 3u, ic, kh, kw)));
    }
}
