// The weight gradient of a convolution by Fourier transforms, where it is not finite, by its definition: a NaN or an infinity
// among the values is in both signals of a pair, and an overflow on the way is none. An invocation has a tap of four filters,
// or a share of one.
//
// Grid   x: ceil(I / 4); y: O; z: 64 / SHARES of the taps

@group(0) @binding(0) var<storage, read> input: array<Input>;               // (N, G * IC, IH, IW)
@group(0) @binding(1) var<storage, read> gradient_output: array<Gradient>;  // (N, G * OC, OH, OW)
@group(0) @binding(2) var<storage, read_write> gradient_weight: array<f32>; // (O, I, KH, KW)
@group(0) @binding(3) var<uniform> params: Params;

// Invocations that share a sum: some drivers end long loops.
override SHARES: u32 = 1u;

// Outputs of an image whose products are added up by themselves.
const BLOCK: u32 = 512u;

var<workgroup> shares: array<vec4<f32>, 64>;

// Pixels of the input in four channels, and how far these lie apart.
struct Pixels { at: u32, last: u32, plane: u32, y: u32, x: u32 }

// Products of an output's gradient, none beyond the last. The padding's zeros are factors too: they make NaN of an infinite gradient.
fn products(pixels: Pixels, n: u32, gradient_at: u32, pixel: u32) -> vec4<f32> {
    if pixel >= params.out_height * params.out_width { return vec4(0.0); }
    let out_y = pixel / params.out_width;
    let y = pixels.y + out_y; // wraps above the plane
    let x = pixels.x + pixel - out_y * params.out_width;
    let gradient = f32(gradient_output[gradient_at + pixel]);
    if y < params.in_height && x < params.in_width {
        let at = pixels.at + n * params.groups * params.in_channels * pixels.plane + y * params.in_width + x;
        return gradient * vec4(
            f32(input[at]),
            f32(input[at + min(1u, pixels.last) * pixels.plane]),
            f32(input[at + min(2u, pixels.last) * pixels.plane]),
            f32(input[at + min(3u, pixels.last) * pixels.plane]),
        );
    }
    return vec4(times_zero(gradient));
}

fn four_products(pixels: Pixels, n: u32, gradient_at: u32, pixel: u32) -> vec4<f32> {
    return products(pixels, n, gradient_at, pixel) + products(pixels, n, gradient_at, pixel + 1u)
        + products(pixels, n, gradient_at, pixel + 2u) + products(pixels, n, gradient_at, pixel + 3u);
}

fn eight_products(pixels: Pixels, n: u32, gradient_at: u32, pixel: u32) -> vec4<f32> {
    return four_products(pixels, n, gradient_at, pixel) + four_products(pixels, n, gradient_at, pixel + 4u);
}

fn ended(sum: vec4<f32>) -> bool {
    return all_nan(fewest(vec4(0x7fffffffu), sum));
}

// An invocation's share of a sum: every so many blocks of the images.
fn share_of(pixels: Pixels, row: u32, share: u32, batch: u32) -> vec4<f32> {
    let out_plane = params.out_height * params.out_width;
    let of_image = (out_plane + BLOCK - 1u) / BLOCK;
    var sum = vec4(0.0);
    for (var block = share; block < batch * of_image && !ended(sum); block += SHARES) {
        let n = block / of_image;
        let gradient_at = (n * params.groups * params.out_channels + row) * out_plane;
        let begin = (block - n * of_image) * BLOCK;
        var of_block = vec4(0.0);
        for (var pixel = begin; pixel < min(begin + BLOCK, out_plane); pixel += 8u) {
            of_block += eight_products(pixels, n, gradient_at, pixel);
        }
        sum += of_block;
    }
    return sum;
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let taps = params.kernel_height * params.kernel_width;
    let tap = group.z * (64u / SHARES) + thread / SHARES;
    let share = thread % SHARES;
    let channel = group.x * 4u;
    let at = (group.y * params.in_channels + channel) * taps + tap;
    let channels = min(params.in_channels - channel, 4u);
    var finite = true;
    for (var i = 0u; i < channels && tap < taps; i++) {
        let bits = bitcast<u32>(gradient_weight[at + i * taps]);
        finite = finite && (bits & 0x7f800000u) != 0x7f800000u;
    }
    let ky = tap / params.kernel_width;
    let plane = params.in_height * params.in_width;
    let pixels = Pixels(
        (group.y / params.out_channels * params.in_channels + channel) * plane,
        channels - 1u,
        plane,
        ky * params.dilation_height - u32(params.pad_top),
        (tap - ky * params.kernel_width) * params.dilation_width - u32(params.pad_left),
    );
    var sum = vec4(0.0);
    if !finite { sum = share_of(pixels, group.y, share, loop_bound(params.batch, group)); }
    shares[thread] = sum;
    workgroupBarrier();
    if finite || share > 0u { return; }
    for (var i = 1u; i < SHARES; i++) { sum += shares[thread + i]; }
    for (var i = 0u; i < channels; i++) { gradient_weight[at + i * taps] = sum[i]; }
}
