// Filters as convolution by Fourier transforms takes them: those of four channels, or a part of them, begin a block of their
// own, with zeros between and behind the taps.
//
// Uses of the kernel's params: in_channels, kernel_height, kernel_width, reach_height, reach_width, parts_across.

// What the transforms there and back leave to divide by: 2048, and 2 for each of the pairs of real signals that a product takes
// apart.
const SCALE: f32 = 1.0 / 8192.0;

// The first weight of four filters, how many of them there are, and the row and column that a part of them begins with.
struct Filters { at: u32, channels: u32, y: u32, x: u32 }

fn filters_of(quad: u32, row: u32, part: u32) -> Filters {
    let channel = quad * 4u;
    return Filters(
        (row * params.in_channels + channel) * filter_len(),
        min(params.in_channels - channel, 4u),
        part / params.parts_across * params.reach_height,
        part % params.parts_across * params.reach_width,
    );
}

fn filter_len() -> u32 {
    return params.kernel_height * params.kernel_width;
}

// Where the weight at a point of a block lies, and whether there is one.
struct Tap { at: u32, there: bool }

fn tap_of(filters: Filters, n: u32, dilation_h: u32, dilation_w: u32) -> Tap {
    let point = point_of(n);
    let y = filters.y + point.x;
    let x = filters.x + point.y;
    let ky = y / dilation_h;
    let kx = x / dilation_w;
    let of_part = point.x < params.reach_height && point.y < params.reach_width;
    let between = ky * dilation_h != y || kx * dilation_w != x;
    let there = of_part && !between && ky < params.kernel_height && kx < params.kernel_width;
    return Tap(filters.at + ky * params.kernel_width + kx, there);
}
