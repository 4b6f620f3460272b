// Packs a filter (O, C / groups, KH, KW) as the tiled products of convolutions read it (core/tap_quads.wgsl):
// (group, tap, channel, row / 4), a vec4 of four rows each; rows that are missing are zero.
//   BACKWARD = false  conv2d forward:        row = o, channel = i
//   BACKWARD = true   conv2d backward input: row = i * phases + phase, channel = o. Phases are rows where the stride
//                     divides the filter, and a tap is then one of each phase: PHASES_H x PHASES_W of the filter.
// One invocation packs a vec4. Grid: ceil(groups * taps * channels * quads / 64).

@group(0) @binding(0) var<storage, read> weight: array<Weight>;
@group(0) @binding(1) var<storage, read_write> packed_weight: array<vec4<Packed>>;

// Channels are those of one group.
struct Params {
    groups: u32,
    in_channels: u32,
    out_channels: u32,
}
@group(0) @binding(2) var<uniform> params: Params;

override KERNEL_H: u32 = 3u;
override KERNEL_W: u32 = 3u;
override PHASES_H: u32 = 1u;
override PHASES_W: u32 = 1u;
override BACKWARD: bool = false;

fn load(channel_group: u32, tap: u32, channel: u32, row: u32) -> f32 {
    let phase = row % (PHASES_H * PHASES_W);
    let taps_x = KERNEL_W / PHASES_W;
    let y = tap / taps_x * PHASES_H + phase / PHASES_W;
    let x = tap % taps_x * PHASES_W + phase % PHASES_W;
    let plane = row / (PHASES_H * PHASES_W);
    let o = channel_group * params.out_channels + select(plane, channel, BACKWARD);
    let i = select(channel, plane, BACKWARD);
    return f32(weight[((o * params.in_channels + i) * KERNEL_H + y) * KERNEL_W + x]);
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let at = flat_index(group, 64u, thread);
    let rows = select(params.out_channels, params.in_channels, BACKWARD) * PHASES_H * PHASES_W;
    let channels = select(params.in_channels, params.out_channels, BACKWARD);
    let taps = KERNEL_H * KERNEL_W / (PHASES_H * PHASES_W);
    let quads = (rows + 3u) / 4u;
    let channel = at / quads % channels;
    let tap = at / quads / channels % taps;
    let channel_group = at / quads / channels / taps;
    if channel_group >= params.groups { return; }
    let row = at % quads * 4u;
    var four = vec4<f32>();
    four.x = load(channel_group, tap, channel, row);
    if row + 1u < rows { four.y = load(channel_group, tap, channel, row + 1u); }
    if row + 2u < rows { four.z = load(channel_group, tap, channel, row + 2u); }
    if row + 3u < rows { four.w = load(channel_group, tap, channel, row + 3u); }
    packed_weight[at] = vec4<Packed>(four);
}
