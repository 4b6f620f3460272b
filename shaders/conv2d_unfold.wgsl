// Unfolds images for a product: a row for each tap of each channel, a column for each place of a window, those of the
// images one after the other, with zeros behind the last one up to a whole vec4. Zeros are what lies outside.
// An invocation has a place in a channel, and goes through its taps: llvmpipe divides integers one by one.
//
// Grid  x: 64 places of all images   y: channels

@group(0) @binding(0) var<storage, read> input: array<Input>;           // (N, C, IH, IW)
@group(0) @binding(1) var<storage, read_write> unfolded: array<f32>;    // (C, KH, KW, N * OH * OW filled up)

struct Params {
    batch: u32,
    channels: u32,
    in_height: u32,
    in_width: u32,
    out_height: u32,
    out_width: u32,
}
@group(0) @binding(2) var<uniform> params: Params;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let place = group.x * 64u + thread;
    let row = place / params.out_width;
    let image = row / params.out_height;
    let places = (params.batch * params.out_height * params.out_width + 3u) / 4u * 4u;
    if place >= places { return; }
    let top = i32((row - image * params.out_height) * STRIDE_H) - i32(PAD_TOP);
    let left = i32((place - row * params.out_width) * STRIDE_W) - i32(PAD_LEFT);
    let plane = image * params.channels + group.y;
    for (var kh = 0u; kh < KERNEL_H; kh++) {
        let y = top + i32(kh * DILATION_H);
        for (var kw = 0u; kw < KERNEL_W; kw++) {
            let x = left + i32(kw * DILATION_W);
            var value = 0.0;
            if image < params.batch && y >= 0 && x >= 0 && y < i32(params.in_height) && x < i32(params.in_width) {
                value = f32(input[(plane * params.in_height + u32(y)) * params.in_width + u32(x)]);
            }
            unfolded[((group.y * KERNEL_H + kh) * KERNEL_W + kw) * places + place] = value;
        }
    }
}
