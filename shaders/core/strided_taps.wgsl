
// Weight gradient with any stride and dilation, for subgroups of exactly 8 lanes.
//
// As in core/taps.wgsl, a subgroup computes 16 output channels x 8 filter rows x up to 5 taps, over its share
// of the batch * OH output rows, and lane l
//   - owns output channels l and l + 8: it loads 4 pixels of each one's gradient;
//   - loads, for every tap of filter row l, the 4 input pixels that these met, one by one, and shares
//     them with all lanes by subgroupBroadcast.
//
// Calls  load_gradient_output(row, block) -> vec4   4 pixels, zero beyond the row's end
//        load_pixel(row, x) -> f32                  an input pixel (both under a lane mask)
// Grid   x: groups * ceil(OC / 16) * ceil(IC * KERNEL_H / 8)   y: splits   z: chunks of KERNEL_W (1 up to width 5)

fn dots(g: vec4<f32>, r0: vec4<f32>, r1: vec4<f32>, r2: vec4<f32>, r3: vec4<f32>) -> vec4<f32> {
    return vec4(dot(g, r0), dot(g, r1), dot(g, r2), dot(g, r3));
}

// The sums of one tap for both channels of a lane.
struct Pair { a: Rows, b: Rows }

// 4 gradient pixels of both channels times the 4 input pixels of each lane.
fn tap(s: Pair, g0: vec4<f32>, g1: vec4<f32>, pixels: vec4<f32>) -> Pair {
    let r0 = subgroupBroadcast(pixels, 0u);
    let r1 = subgroupBroadcast(pixels, 1u);
    let r2 = subgroupBroadcast(pixels, 2u);
    let r3 = subgroupBroadcast(pixels, 3u);
    let r4 = subgroupBroadcast(pixels, 4u);
    let r5 = subgroupBroadcast(pixels, 5u);
    let r6 = subgroupBroadcast(pixels, 6u);
    let r7 = subgroupBroadcast(pixels, 7u);
    if HALF { return Pair(Rows(s.a.low + dots(g0, r0, r1, r2, r3), s.a.high + dots(g0, r4, r5, r6, r7)), s.b); }
    return Pair(
        Rows(s.a.low + dots(g0, r0, r1, r2, r3), s.a.high + dots(g0, r4, r5, r6, r7)),
        Rows(s.b.low + dots(g1, r0, r1, r2, r3), s.b.high + dots(g1, r4, r5, r6, r7)),
    );
}

// The inputs that `count` output pixels of a row meet, of which the first meets x. The rest are zero,
// and those beyond the input's ends.
fn load_pixels(row: u32, x: u32, count: u32) -> vec4<f32> {
    var v = vec4<f32>();
    if x < params.in_width { v.x = load_pixel(row, x); }
    if count > 1u && x + STRIDE_W < params.in_width { v.y = load_pixel(row, x + STRIDE_W); }
    if count > 2u && x + 2u * STRIDE_W < params.in_width { v.z = load_pixel(row, x + 2u * STRIDE_W); }
    if count > 3u && x + 3u * STRIDE_W < params.in_width { v.w = load_pixel(row, x + 3u * STRIDE_W); }
    return v;
}

@compute @workgroup_size(8)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(subgroup_invocation_id) lane: u32,
) {
    let filter_rows = params.in_channels * KERNEL_H;
    let row_tiles = (filter_rows + 7u) / 8u;
    let any_tile = group.x / row_tiles;
    let channel_tiles = (params.out_channels + 15u) / 16u;
    let channel_group = any_tile / channel_tiles;
    let channel_tile = any_tile - channel_group * channel_tiles;
    let filter_row = (group.x - any_tile * row_tiles) * 8u + lane;           // the one whose input this lane loads
    let ic = filter_row / KERNEL_H;
    let kh = filter_row - ic * KERNEL_H;
    let channel = channel_tile * 16u + lane;                                     // and channel + 8

    let blocks = (params.out_width + 3u) / 4u;                                   // of 4 output pixels in a row
    // A batch smaller than planned leaves splits without rows.
    let rows = params.batch * params.out_height;
    let begin = min(group.y * params.rows_per_split, rows);
    let end = min(begin + params.rows_per_split, rows);
    var n = begin / params.out_height;
    var y = begin - n * params.out_height;
    var block = 0u;
    var total_a = Sums();
    var total_b = Sums();
    var gradients = Gradients();
    let turns = (end - begin) * blocks;
    for (var first = 0u; first < turns; first += BLOCKS) {
        let last = loop_bound(min(first + BLOCKS, turns), group);
        var t0 = Pair();
        var t1 = Pair();
        var t2 = Pair();
        var t3 = Pair();
        var t4 = Pair();
        var block_gradients = Gradients();
        // One loop over rows and blocks, since llvmpipe runs the body of a loop once more than it counts.
        for (var turn = first; turn < last; turn++) {
            let image = n * params.groups + channel_group; // a group of an image is as an image of its own
            let out_row = (image * params.out_channels + channel) * params.out_height + y;
            var g0 = vec4<f32>();
            var g1 = vec4<f32>();
            if channel < params.out_channels { g0 = load_gradient_output(out_row, block); }
            if !HALF && channel + 8u < params.out_channels { g1 = load_gradient_output(out_row + 8u * params.out_height, block); }
            if ROW_SUMS { block_gradients = gradients_sum(block_gradients, Gradients(g0, g1)); }

            // Above and left of the image the differences wrap to large numbers.
            let in_y = y * STRIDE_H + kh * DILATION_H - PAD_TOP;
            let row = (image * params.in_channels + ic) * params.in_height + in_y;
            let x = block * 4u * STRIDE_W + group.z * TAPS * DILATION_W - PAD_LEFT;
            let count = params.out_width - block * 4u;
            var p0 = vec4<f32>();
            var p1 = vec4<f32>();
            var p2 = vec4<f32>();
            var p3 = vec4<f32>();
            var p4 = vec4<f32>();
            if filter_row < filter_rows && in_y < params.in_height {
                p0 = load_pixels(row, x, count);
                if TAPS > 1u { p1 = load_pixels(row, x + DILATION_W, count); }
                if TAPS > 2u { p2 = load_pixels(row, x + 2u * DILATION_W, count); }
                if TAPS > 3u { p3 = load_pixels(row, x + 3u * DILATION_W, count); }
                if TAPS > 4u { p4 = load_pixels(row, x + 4u * DILATION_W, count); }
            }
            t0 = tap(t0, g0, g1, p0);
            if TAPS > 1u { t1 = tap(t1, g0, g1, p1); }
            if TAPS > 2u { t2 = tap(t2, g0, g1, p2); }
            if TAPS > 3u { t3 = tap(t3, g0, g1, p3); }
            if TAPS > 4u { t4 = tap(t4, g0, g1, p4); }

            block += 1u;
            if block == blocks {
                block = 0u;
                y += 1u;
            }
            if y == params.out_height {
                y = 0u;
                n += 1u;
            }
        }
        total_a = sums_sum(total_a, Sums(t0.a, t1.a, t2.a, t3.a, t4.a));
        total_b = sums_sum(total_b, Sums(t0.b, t1.b, t2.b, t3.b, t4.b));
        if ROW_SUMS { gradients = gradients_sum(gradients, block_gradients); }
    }

    let begin_of_split = split_begin(group.y, groups.z * groups.x, groups.x / row_tiles);
    let tile = group.z * groups.x + group.x;
    store_sums(begin_of_split + (tile * 16u + lane) * TAPS * 2u, total_a, group);
    store_sums(begin_of_split + (tile * 16u + lane + 8u) * TAPS * 2u, total_b, group);
    if ROW_SUMS && group.z == 0u && group.x == any_tile * row_tiles {
        let behind = begin_of_split + groups.z * groups.x * 32u * TAPS;
        store_gradients(behind + any_tile * 4u, lane, gradients);
    }
}
