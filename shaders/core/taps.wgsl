
// Weight gradient by rows of taps: stride 1, dilation 1, subgroups of exactly 8 lanes.
//
// A filter row is one (input channel, kh); there are IC * KERNEL_H of them. A subgroup computes
// 16 output channels x 8 filter rows x up to 5 taps, over its share of the batch * OH output rows:
//   - lane l owns output channels l and l + 8: it loads 4 pixels of each one's gradient;
//   - lane l also loads the input row that filter row l meets, 4 pixels at a time, and shares it with
//     all lanes by subgroupBroadcast. Walking along the row, the last two blocks are kept, so that
//     the window of 4 + taps - 1 pixels (in at most 3 aligned blocks) costs one load.
// Each tap is then a dot product of 4 gradient pixels with 4 window pixels, summed in registers: by itself
// over so many rows that they make about BLOCKS blocks.
//
// Grid  x: groups * ceil(OC / 16) * ceil(IC * KERNEL_H / 8)   y: splits   z: chunks of KERNEL_W (1 up to width 5)

// The three blocks of input that hold the window, for four filter rows (in every lane alike).
struct Blocks { a: vec4<f32>, b: vec4<f32>, c: vec4<f32> }

// Four gradient pixels times four of a window. Those beyond the row's end are left out, not
// multiplied by zero, which would make NaN of infinity.
fn product(g: vec4<f32>, r: Blocks, first: u32, inside: vec4<bool>) -> f32 {
    let window = slide(r.a, r.b, r.c, first);
    if OUTPUT_VEC4 { return dot(g, window); }
    return dot(g, select(vec4<f32>(), window, inside));
}

fn dots(g: vec4<f32>, r0: Blocks, r1: Blocks, r2: Blocks, r3: Blocks, first: u32, inside: vec4<bool>) -> vec4<f32> {
    return vec4(
        product(g, r0, first, inside), product(g, r1, first, inside),
        product(g, r2, first, inside), product(g, r3, first, inside),
    );
}

fn tap(s: Rows, g: vec4<f32>, r0: Blocks, r1: Blocks, r2: Blocks, r3: Blocks, r4: Blocks, r5: Blocks, r6: Blocks, r7: Blocks, first: u32, inside: vec4<bool>) -> Rows {
    return Rows(s.low + dots(g, r0, r1, r2, r3, first, inside), s.high + dots(g, r4, r5, r6, r7, first, inside));
}

fn taps(s: Sums, g: vec4<f32>, r0: Blocks, r1: Blocks, r2: Blocks, r3: Blocks, r4: Blocks, r5: Blocks, r6: Blocks, r7: Blocks, shift: u32, inside: vec4<bool>) -> Sums {
    var t = s;
    t.t0 = tap(t.t0, g, r0, r1, r2, r3, r4, r5, r6, r7, shift, inside);
    if TAPS > 1u { t.t1 = tap(t.t1, g, r0, r1, r2, r3, r4, r5, r6, r7, shift + 1u, inside); }
    if TAPS > 2u { t.t2 = tap(t.t2, g, r0, r1, r2, r3, r4, r5, r6, r7, shift + 2u, inside); }
    if TAPS > 3u { t.t3 = tap(t.t3, g, r0, r1, r2, r3, r4, r5, r6, r7, shift + 3u, inside); }
    if TAPS > 4u { t.t4 = tap(t.t4, g, r0, r1, r2, r3, r4, r5, r6, r7, shift + 4u, inside); }
    return t;
}

@compute @workgroup_size(8)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(subgroup_invocation_id) lane: u32,
) {
    let shift = (4u - PAD_LEFT % 4u) % 4u;                                       // window start in its first block
    let blocks = (shift + TAPS + 6u) / 4u;                                       // blocks a window touches: 1 to 3
    let first_block = i32(group.z) - i32((PAD_LEFT + 3u) / 4u);                  // of the window of output block 0

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

    let in_blocks = i32((params.in_width + 3u) / 4u);
    let out_blocks = loop_bound((params.out_width + 3u) / 4u, group);
    let begin = group.y * params.rows_per_split;
    let end = min(begin + params.rows_per_split, params.batch * params.out_height);
    var n = begin / params.out_height;
    var y = begin - n * params.out_height;
    let rows_per_block = max(BLOCKS / max(out_blocks, 1u), 1u);
    var total0 = Sums();
    var total1 = Sums();
    var gradients = Gradients();
    for (var first = begin; first < end; first += rows_per_block) {
        let last = min(first + rows_per_block, end);
        var s0 = Sums();
        var s1 = Sums();
        var block_gradients = Gradients();
        for (var r = first; r < last; r++) {
            let in_y = i32(y + kh) - i32(PAD_TOP);
            let row_inside = filter_row < filter_rows && in_y >= 0 && in_y < i32(params.in_height);
            let image = n * params.groups + channel_group; // a group of an image is as an image of its own
            let in_row = (image * params.in_channels + ic) * params.in_height + u32(in_y);
            let out_row = (image * params.out_channels + channel) * params.out_height + y;

            var a = vec4<f32>(); // the two blocks before the next one to load
            var b = vec4<f32>();
            if blocks == 3u && row_inside && first_block >= 0 && first_block < in_blocks { a = load_input(in_row, u32(first_block)); }
            let second = first_block + i32(blocks) - 2;
            if blocks >= 2u && row_inside && second >= 0 && second < in_blocks { b = load_input(in_row, u32(second)); }
            for (var block = 0u; block < out_blocks; block++) {
                var g0 = vec4<f32>();
                var g1 = vec4<f32>();
                if channel < params.out_channels { g0 = load_gradient_output(out_row, block); }
                if !HALF && channel + 8u < params.out_channels { g1 = load_gradient_output(out_row + 8u * params.out_height, block); }
                if ROW_SUMS { block_gradients = gradients_sum(block_gradients, Gradients(g0, g1)); }
                let next = first_block + i32(block + blocks) - 1;
                var c = vec4<f32>();
                if row_inside && next >= 0 && next < in_blocks { c = load_input(in_row, u32(next)); }

                let inside = block * 4u + vec4(0u, 1u, 2u, 3u) < vec4(params.out_width);
                var w = Blocks(a, b, c);
                if blocks == 2u { w = Blocks(b, c, c); }
                if blocks == 1u { w = Blocks(c, c, c); }
                let r0 = Blocks(subgroupBroadcast(w.a, 0u), subgroupBroadcast(w.b, 0u), subgroupBroadcast(w.c, 0u));
                let r1 = Blocks(subgroupBroadcast(w.a, 1u), subgroupBroadcast(w.b, 1u), subgroupBroadcast(w.c, 1u));
                let r2 = Blocks(subgroupBroadcast(w.a, 2u), subgroupBroadcast(w.b, 2u), subgroupBroadcast(w.c, 2u));
                let r3 = Blocks(subgroupBroadcast(w.a, 3u), subgroupBroadcast(w.b, 3u), subgroupBroadcast(w.c, 3u));
                let r4 = Blocks(subgroupBroadcast(w.a, 4u), subgroupBroadcast(w.b, 4u), subgroupBroadcast(w.c, 4u));
                let r5 = Blocks(subgroupBroadcast(w.a, 5u), subgroupBroadcast(w.b, 5u), subgroupBroadcast(w.c, 5u));
                let r6 = Blocks(subgroupBroadcast(w.a, 6u), subgroupBroadcast(w.b, 6u), subgroupBroadcast(w.c, 6u));
                let r7 = Blocks(subgroupBroadcast(w.a, 7u), subgroupBroadcast(w.b, 7u), subgroupBroadcast(w.c, 7u));
                s0 = taps(s0, g0, r0, r1, r2, r3, r4, r5, r6, r7, shift, inside);
                if !HALF { s1 = taps(s1, g1, r0, r1, r2, r3, r4, r5, r6, r7, shift, inside); }
                a = b;
                b = c;
            }
            y += 1u;
            if y == params.out_height {
                y = 0u;
                n += 1u;
            }
        }
        total0 = sums_sum(total0, s0);
        total1 = sums_sum(total1, s1);
        if ROW_SUMS { gradients = gradients_sum(gradients, block_gradients); }
    }

    let begin_of_split = split_begin(group.y, groups.z * groups.x, groups.x / row_tiles);
    let tile = group.z * groups.x + group.x;
    store_sums(begin_of_split + (tile * 16u + lane) * TAPS * 2u, total0, group);
    store_sums(begin_of_split + (tile * 16u + lane + 8u) * TAPS * 2u, total1, group);
    if ROW_SUMS && group.z == 0u && group.x == any_tile * row_tiles {
        let behind = begin_of_split + groups.z * groups.x * 32u * TAPS;
        store_gradients(behind + any_tile * 4u, lane, gradients);
    }
}
