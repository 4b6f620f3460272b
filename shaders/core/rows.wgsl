
// Direct convolution over rows of pixels: stride 1, dilation 1, subgroups of exactly 8 lanes.
//
// A strip is 4 neighbouring pixels of one output row. Each lane owns one strip and computes it for
// 16 output channels: 16 vec4 accumulators. A subgroup is 8 consecutive strips times those 16
// channels, so per kernel row it needs
//   - the weights of up to 5 taps x 16 channels: each lane loads one vec4 of 4 channels,
//     and subgroupBroadcast hands every one of them to all lanes;
//   - a window of 4 + taps - 1 pixels per lane: it lies in at most 3 aligned blocks of 4 pixels.
//     A lane loads one block, and gets the others from its neighbours by subgroupShuffle, since the
//     next strip's block is this strip's next block. Only where the neighbour is of another row or
//     another subgroup does a lane load the block itself.
//
//   input row      | block -1 | block 0 | block 1 |        KERNEL_W = 3, PAD_LEFT = 1:
//   window of lane 0        [x  x x x x  x]                 shift = 3, three blocks
//   output strip               [o o o o]
//
// All lanes stay in the loops (subgroup operations need them), lanes without work load nothing.
//
// Calls  load_block(row, block) -> vec4     4 input pixels (under a lane mask)
//        and what core/rows_tile.wgsl calls
// Grid   x, y: subgroups of strips, ceil(batch * OH * ceil(OW / 4) / 8), folded; z: groups * ceil(OC / 16)

// The pixels of tap `kw`, which is slide's `first` in the window; zeros beyond the last tap, whose zero
// weight would make NaN of infinity.
fn window(a: vec4<f32>, b: vec4<f32>, d: vec4<f32>, first: u32, kw: u32) -> vec4<f32> {
    return select(vec4<f32>(), slide(a, b, d, first), KERNEL_W <= 5u || kw < KERNEL_W);
}

@compute @workgroup_size(8)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(subgroup_invocation_id) lane: u32,
) {
    // Constants once the overrides are known. A kernel row wider than 5 is walked in chunks of 4 taps.
    let taps = select(4u, KERNEL_W, KERNEL_W <= 5u);
    let chunks = (KERNEL_W + taps - 1u) / taps;
    let shift = (4u - PAD_LEFT % 4u) % 4u;            // window start inside its first block
    let blocks = (shift + taps + 6u) / 4u;            // blocks a window touches: 1 to 3
    let own = select(0, 1, blocks == 3u);             // which of them the lane loads itself
    let first_block = -i32((PAD_LEFT + 3u) / 4u);     // relative to the strip's own block

    let strips_per_row = (params.out_width + 3u) / 4u;
    let strip = flat_group(group) * 8u + lane;
    let out_row = strip / strips_per_row;
    let column = strip - out_row * strips_per_row;
    let image = out_row / params.out_height;
    let y = out_row - image * params.out_height;
    let in_grid = image < params.batch;
    let tiles = (params.out_channels + 15u) / 16u;
    let channel_group = group.z / tiles;
    let n = image * params.groups + channel_group;

    let in_blocks = i32((params.in_width + 3u) / 4u);
    let from_left = lane > 0u && column > 0u;                      // the left lane has my left block
    let from_right = lane < 7u && column + 1u < strips_per_row;
    let left_lane = (lane + 7u) % 8u;
    let right_lane = (lane + 1u) % 8u;

    // Filter rows that meet the input for at least one lane. The lanes' output rows follow one another, and
    // where they go on in another image, both its first row and its last are among them. Said by the group,
    // not by subgroupMin of y, so that a compiler sees that all lanes make the same turns.
    let first_strip = flat_group(group) * 8u;
    let first_row = first_strip / strips_per_row;
    let last_row = (first_strip + 7u) / strips_per_row;
    let first_n = first_row / params.out_height;
    let one_image = last_row / params.out_height == first_n;
    let top = select(0u, first_row - first_n * params.out_height, one_image);
    let bottom = select(params.out_height - 1u, last_row - first_n * params.out_height, one_image);
    let kh_begin = u32(max(i32(PAD_TOP) - i32(bottom), 0));
    let kh_end = min(KERNEL_H, u32(max(i32(params.in_height + PAD_TOP) - i32(top), 0)));

    let o = (group.z - channel_group * tiles) * 16u;
    var t = initial_tile(channel_group, o, lane);
    let in_channels = loop_bound(params.in_channels, group);
    for (var c = 0u; c < in_channels; c++) {
        for (var kh = kh_begin; kh < kh_end; kh++) {
            let in_y = i32(y + kh) - i32(PAD_TOP);
            let row_inside = in_grid && in_y >= 0 && in_y < i32(params.in_height);
            let row = (n * params.in_channels + c) * params.in_height + u32(in_y);
            for (var chunk = 0u; chunk < chunks; chunk++) {
                let block = i32(column) + first_block + own + i32(chunk);
                var mine = vec4<f32>();
                if row_inside && block >= 0 && block < in_blocks { mine = load_block(row, block); }
                var a = mine;
                var b = mine;
                var d = mine;
                if blocks == 3u {
                    a = select(vec4<f32>(), subgroupShuffle(mine, left_lane), from_left);
                    if EDGE_LOADS && row_inside && !from_left && block >= 1 && block <= in_blocks { a = load_block(row, block - 1); }
                }
                if blocks >= 2u {
                    d = select(vec4<f32>(), subgroupShuffle(mine, right_lane), from_right);
                    if EDGE_LOADS && row_inside && !from_right && block >= -1 && block + 1 < in_blocks { d = load_block(row, block + 1); }
                    if blocks == 2u { b = d; }
                }

                let w = ((((group.z * params.in_channels + c) * KERNEL_H + kh) * chunks + chunk) * taps) * 4u + lane;
                let kw = chunk * taps;
                var w01 = vec4<f32>();
                if taps > 1u || lane < 4u { w01 = load_weight(w); }
                t = tap_low(t, w01, slide(a, b, d, shift));
                if taps > 1u { t = tap_high(t, w01, window(a, b, d, shift + 1u, kw + 1u)); }
                if taps > 2u {
                    var w23 = vec4<f32>();
                    if taps > 3u || lane < 4u { w23 = load_weight(w + 8u); }
                    t = tap_low(t, w23, window(a, b, d, shift + 2u, kw + 2u));
                    if taps > 3u { t = tap_high(t, w23, window(a, b, d, shift + 3u, kw + 3u)); }
                }
                if taps > 4u {
                    var w4 = vec4<f32>();
                    if lane < 4u { w4 = load_weight(w + 16u); }
                    t = tap_low(t, w4, slide(a, b, d, shift + 4u));
                }
            }
        }
    }

    if in_grid {
        store_tile(n, o, y, column * 4u, t, group);
    }
}
