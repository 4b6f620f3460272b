// Adds the partial sums of conv2d_backward_weight_taps or conv2d_strided_taps in the order of the splits,
// and puts the tiles in the order of the filter. A workgroup takes a tile: its grid says which, since
// llvmpipe divides integers one by one. Behind the tiles of a split lie the sums of the gradient itself, if
// they are made: those of a bias's.
//
// Grid  x: ceil(IC * KERNEL_H / 8)   y: groups * ceil(OC / 16)   z: chunks of KERNEL_W, TAPS each

@group(0) @binding(0) var<storage, read> partial_sums: array<vec4<f32>>;     // (splits, chunks, groups, tiles, 16 channels, TAPS, 8 rows)
@group(0) @binding(1) var<storage, read_write> gradient_weight: array<f32>;  // (OC, IC, KH, KW)
@group(0) @binding(2) var<storage, read_write> gradient_bias: array<f32>;    // (OC)

// Channels are those of one group.
struct Params {
    in_channels: u32,
    out_channels: u32,
    splits: u32,
}
@group(0) @binding(3) var<uniform> params: Params;

override KERNEL_H: u32 = 3u;
override KERNEL_W: u32 = 3u;
override TAPS: u32 = select(4u, KERNEL_W, KERNEL_W <= 5u);
override TILE: u32 = 32u * TAPS; // vectors of a tile
override ROW_SUMS: bool = false;

// A vector of all splits, which are so far apart.
fn sum_of(first: u32, stride: u32, splits: u32) -> vec4<f32> {
    var sum = vec4<f32>();
    // In blocks, so that no sum is long enough to lose digits.
    for (var block = 0u; block < splits; block += 16u) {
        let end = min(block + 16u, splits);
        var block_sum = vec4<f32>();
        for (var s = block; s < end; s++) { block_sum += partial_sums[first + s * stride]; }
        sum += block_sum;
    }
    return sum;
}

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
    let tiles = groups.x * groups.y * groups.z * TILE;
    let stride = tiles + select(0u, groups.y * 4u, ROW_SUMS);
    let splits = loop_bound(params.splits, group);
    for (var at = thread; at < TILE; at += 64u) {
        let channel = first_channel + at / (2u * TAPS);
        let kw = group.z * TAPS + at / 2u % TAPS;
        if channel >= params.out_channels || kw >= KERNEL_W { continue; }
        let sum = sum_of(first + at, stride, splits);
        let row = group.x * 8u + at % 2u * 4u; // of the filter's
        let to = ((first_output + channel) * filter_rows + row) * KERNEL_W + kw;
        for (var i = 0u; i < 4u; i++) {
            if row + i < filter_rows { gradient_weight[to + i * KERNEL_W] = sum[i]; }
        }
    }
    if ROW_SUMS && group.x == 0u && group.z == 0u && thread < 4u {
        let sum = sum_of(tiles + group.y * 4u + thread, stride, splits);
        let channel = first_channel + thread * 4u;
        for (var i = 0u; i < 4u; i++) {
            if channel + i < params.out_channels { gradient_bias[first_output + channel + i] = sum[i]; }
        }
    }
}
