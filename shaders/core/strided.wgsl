
// Direct convolution with any stride and dilation, for subgroups of exactly 8 lanes.
//
// As in core/rows.wgsl, each lane owns a strip of 4 pixels, here in 32 output channels or 16 of them:
// two tiles or one. For every tap it loads the 4 input pixels that its own pixels meet, one by one: each
// is then a factor of all channels. Of the weights, a lane loads one vec4 of 4 channels, and
// subgroupBroadcast hands it to all.
//
//   forward          pixel (y, x) of the output meets   y * STRIDE + kh * DILATION - PAD   of the input
//   backward input   pixel (y, x) of the input gradient meets, with the filter flipped,
//                    (y + kh * DILATION - PAD) / STRIDE   of the output gradient, where STRIDE divides
//
// So for an input gradient, pixels that are STRIDE apart meet the same taps: they are one of STRIDE * STRIDE
// phases. Strips and subgroups are of one phase each, and walk along its taps alone, which are PERIOD apart.
// STEP is the distance of a strip's pixels, and of its rows: STRIDE there, 1 in a forward pass.
//
// Calls  load_pixel(row, x) -> f32          an input pixel (under a lane mask)
//        and what core/rows_tile.wgsl calls
// Grid   x, y: subgroups of strips, for each phase ceil(batch * rows * strips of a row / 8), folded;
//        z: groups * ceil(OC / (WIDE ? 32 : 16))

override STEP_H: u32 = select(1u, STRIDE_H, BACKWARD);
override STEP_W: u32 = select(1u, STRIDE_W, BACKWARD);
// The distance of the inputs that a strip's neighbouring pixels meet.
override PIXEL_STEP: u32 = STRIDE_W / STEP_W;
// The distance of the inputs that a pixel meets with neighbouring taps of its phase.
override TAP_STEP_H: u32 = PERIOD_H * DILATION_H / STEP_H;
override TAP_STEP_W: u32 = PERIOD_W * DILATION_W / STEP_W;

// What of a padding lies within one step, counted from a phase.
fn residue(pad: i32, phase: u32, step: u32) -> u32 {
    let size = i32(step);
    return u32(((pad - i32(phase)) % size + size) % size);
}

// The input pixels of a row that a strip meets from x on, zero beyond the row's ends. Left of it, x wraps
// to large numbers.
fn load_pixels(row: u32, x0: u32) -> vec4<f32> {
    let x1 = x0 + PIXEL_STEP;
    let x2 = x1 + PIXEL_STEP;
    let x3 = x2 + PIXEL_STEP;
    var v = vec4<f32>();
    if x0 < params.in_width { v.x = load_pixel(row, x0); }
    if x1 < params.in_width { v.y = load_pixel(row, x1); }
    if x2 < params.in_width { v.z = load_pixel(row, x2); }
    if x3 < params.in_width { v.w = load_pixel(row, x3); }
    return v;
}

@compute @workgroup_size(8)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(subgroup_invocation_id) lane: u32,
) {
    // The subgroup's phase: neighbouring subgroups have different ones, since their work differs.
    let phases = STEP_H * STEP_W;
    let at = flat_group(group);
    let phase_y = at % phases / STEP_W;
    let phase_x = at % STEP_W;

    // The lane's strip.
    let rows = (params.out_height + STEP_H - 1u) / STEP_H;
    let columns = (params.out_width + 4u * STEP_W - 1u) / (4u * STEP_W);
    let strip = at / phases * 8u + lane;
    let strip_row = strip / columns;
    let image = strip_row / rows;
    let y = (strip_row - image * rows) * STEP_H + phase_y;
    let x = (strip - strip_row * columns) * 4u * STEP_W + phase_x;
    let in_grid = image < params.batch && y < params.out_height;

    // Its phase's taps, and the input that the first of them reaches.
    let first_kh = first_tap(residue(PAD_TOP, phase_y, STEP_H), STEP_H, DILATION_H, min(PERIOD_H, KERNEL_H));
    let first_kw = first_tap(residue(PAD_LEFT, phase_x, STEP_W), STEP_W, DILATION_W, min(PERIOD_W, KERNEL_W));
    let taps_h = count_taps(first_kh, PERIOD_H, KERNEL_H);
    let taps_w = count_taps(first_kw, PERIOD_W, KERNEL_W);
    let top = (i32(y * STRIDE_H / STEP_H + first_kh * DILATION_H) - PAD_TOP) / i32(STEP_H);
    let left = (i32(x * STRIDE_W / STEP_W + first_kw * DILATION_W) - PAD_LEFT) / i32(STEP_W);

    // Lanes 0-3 load the weights of one tile, lanes 4-7 those of the next.
    let padded = select((KERNEL_W + 3u) / 4u * 4u, KERNEL_W, KERNEL_W <= 5u);
    let tiles = select(1u, 2u, WIDE);
    let of_group = (params.out_channels + 16u * tiles - 1u) / (16u * tiles);
    let channel_group = group.z / of_group;
    let n = image * params.groups + channel_group;
    let o = (group.z - channel_group * of_group) * tiles * 16u;
    let has_weights = lane < 4u * tiles && o + lane / 4u * 16u < params.out_channels;
    let tile = channel_group * ((params.out_channels + 15u) / 16u) + o / 16u + lane / 4u;
    var low = initial_tile(channel_group, o, lane);
    var high = Tile();
    if WIDE { high = initial_tile(channel_group, o + 16u, lane); }

    var c = 0u;
    var tap_h = 0u;
    var tap_w = 0u;
    // One loop, since llvmpipe runs the body of a loop once more than it counts.
    let turns = loop_bound(params.in_channels * taps_h * taps_w, group);
    for (var turn = 0u; turn < turns; turn++) {
        let in_y = u32(top) + tap_h * TAP_STEP_H;
        let in_x = u32(left) + tap_w * TAP_STEP_W;
        var pixels = vec4<f32>();
        if in_grid && in_y < params.in_height {
            pixels = load_pixels((n * params.in_channels + c) * params.in_height + in_y, in_x);
        }
        var weights = vec4<f32>();
        if has_weights {
            let row = (tile * params.in_channels + c) * KERNEL_H + first_kh + tap_h * PERIOD_H;
            weights = load_weight((row * padded + first_kw + tap_w * PERIOD_W) * 4u + lane % 4u);
        }
        low = tap_low(low, weights, pixels);
        if WIDE { high = tap_high(high, weights, pixels); }

        tap_w += 1u;
        if tap_w == taps_w {
            tap_w = 0u;
            tap_h += 1u;
        }
        if tap_h == taps_h {
            tap_h = 0u;
            c += 1u;
        }
    }

    if in_grid {
        store_tile(n, o, y, x, low, group);
        if WIDE { store_tile(n, o + 16u, y, x, high, group); }
    }
}
