// Adds the partial sums of conv2d_backward_weight_taps or conv2d_strided_taps in the order of the splits,
// and puts the tiles in the order of the filter. A workgroup takes a tile: its grid says which, since
// llvmpipe divides integers one by one.
//
// Grid  x: ceil(IC * KERNEL_H / 8)   y: groups * ceil(OC / 16)   z: chunks of KERNEL_W, TAPS each

@group(0) @binding(0) var<storage, read> partial_sums: array<vec4<f32>>;     // (splits, chunks, groups, tiles, 16 channels, TAPS, 8 rows)
@group(0) @binding(1) var<storage, read_write> gradient_weight: array<f32>;  // (OC, IC, KH, KW)

// Channels are those of one group.
struct Params {
    in_channels: u32,
    out_channels: u32,
    splits: u32,
}
@group(0) @binding(2) var<uniform> params: Params;

override KERNEL_H: u32 = 3u;
override KERNEL_W: u32 = 3u;
override TAPS: u32 = select(4u, KERNEL_W, KERNEL_W <= 5u);
override TILE: u32 = 32u * TAPS; // vectors of a tile

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let filter_rows = params.in_channels * KERNEL_H;
    let channel_tiles = (params.out_channels + 15u) / 16u;
    let channel_group = group.y / channel_tiles;
    let first_channel = (group.y - channel_group * channel_tiles) * 16u;
    let first_output = channel_group * params.out_channels;
    let first = ((group.z * groups.y + group.y) * groups.x + group.x) * TILE;
    let stride = groups.x * groups.y * groups.z * TILE;
    let splits = loop_bound(params.splits, group);
    for (var at = thread; at < TILE; at += 64u) {
        let channel = first_channel + at / (2u * TAPS);
        let kw = group.z * TAPS + at / 2u % TAPS;
        if channel >= params.out_channels || kw >= KERNEL_W { continue; }
        var sum = vec4<f32>();
        // In blocks, so that no sum is long enough to lose digits.
        for (var block = 0u; block < splits; block += 16u) {
            let end = min(block + 16u, splits);
            var block_sum = vec4<f32>();
            for (var s = block; s < end; s++) { block_sum += partial_sums[first + at + s * stride]; }
            sum += block_sum;
        }
        let row = group.x * 8u + at % 2u * 4u; // of the filter's
        let to = ((first_output + channel) * filter_rows + row) * KERNEL_W + kw;
        for (var i = 0u; i < 4u; i++) {
            if row + i < filter_rows { gradient_weight[to + i * KERNEL_W] = sum[i]; }
        }
    }
}
