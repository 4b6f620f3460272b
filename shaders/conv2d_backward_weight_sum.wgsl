// Adds the partial sums of conv2d_backward_weight_taps or conv2d_strided_taps in the order of the splits,
// and puts the tiles in the order of the filter. One invocation per weight.

@group(0) @binding(0) var<storage, read> partial_sums: array<f32>;          // (splits, chunks, groups, tiles, 16 channels, TAPS, 8 rows)
@group(0) @binding(1) var<storage, read_write> gradient_weight: array<f32>;     // (OC, IC, KH, KW)

// Channels are those of one group.
struct Params {
    groups: u32,
    in_channels: u32,
    out_channels: u32,
    splits: u32,
}
@group(0) @binding(2) var<uniform> params: Params;

override KERNEL_H: u32 = 3u;
override KERNEL_W: u32 = 3u;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let i = flat_index(group, 64u, thread);
    let filter_rows = params.in_channels * KERNEL_H;
    let row_tiles = (filter_rows + 7u) / 8u;
    let channel_tiles = (params.out_channels + 15u) / 16u;
    let taps = select(4u, KERNEL_W, KERNEL_W <= 5u);
    let chunks = (KERNEL_W + taps - 1u) / taps;

    let channel_row = i / KERNEL_W; // channel * filter_rows + row
    let kw = i - channel_row * KERNEL_W;
    let any_channel = channel_row / filter_rows;
    let row = channel_row - any_channel * filter_rows;
    let channel_group = any_channel / params.out_channels;
    let channel = any_channel - channel_group * params.out_channels;
    if channel_group >= params.groups { return; }

    let tile = ((kw / taps * params.groups + channel_group) * channel_tiles + channel / 16u) * row_tiles + row / 8u;
    let first = ((tile * 16u + channel % 16u) * taps + kw % taps) * 8u + row % 8u;
    let stride = chunks * params.groups * channel_tiles * row_tiles * 16u * taps * 8u;
    var sum = 0.0;
    let splits = loop_bound(params.splits, group);
    // In blocks, so that no sum is long enough to lose digits.
    for (var block = 0u; block < splits; block += 16u) {
        let end = min(block + 16u, splits);
        var block_sum = 0.0;
        for (var s = block; s < end; s++) { block_sum += partial_sums[first + s * stride]; }
        sum += block_sum;
    }
    gradient_weight[i] = sum;
}
