// Folds what a product has for each tap of each channel at each place of a window into images: the reverse of
// conv2d_unfold.wgsl. A pixel is the sum of what the windows have for it, and of the bias, on its way through the
// epilogue. With a window of one pixel it puts a product's rows in the order of images.
//
// Grid  x: 64 pixels of all images   y: channels

@group(0) @binding(0) var<storage, read> products: array<f32>;              // (C, KH, KW, N * OH * OW filled up)
@group(0) @binding(1) var<storage, read> bias: array<f32>;                  // (C), or a dummy
@group(0) @binding(2) var<storage, read> saved: array<Saved>;               // (N, C, IH, IW)
@group(0) @binding(3) var<storage, read_write> output: array<Output>;       // (N, C, IH, IW)

struct Params {
    batch: u32,
    channels: u32,
    in_height: u32,
    in_width: u32,
    out_height: u32,
    out_width: u32,
}
@group(0) @binding(4) var<uniform> params: Params;

override HAS_BIAS: bool = false;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let pixel = group.x * 64u + thread;
    let row = pixel / params.in_width;
    let image = row / params.in_height;
    if image >= params.batch { return; }
    let top = i32(row - image * params.in_height + PAD_TOP);
    let left = i32(pixel - row * params.in_width + PAD_LEFT);
    let height = i32(params.out_height * STRIDE_H);
    let width = i32(params.out_width * STRIDE_W);
    let area = params.out_height * params.out_width;
    let places = (params.batch * area + 3u) / 4u * 4u;
    var sum = 0.0;
    for (var kh = 0u; kh < KERNEL_H; kh++) {
        // The place of the window that has the pixel under this tap, times the stride.
        let y = top - i32(kh * DILATION_H);
        if y < 0 || y >= height || y % i32(STRIDE_H) != 0 { continue; }
        for (var kw = 0u; kw < KERNEL_W; kw++) {
            let x = left - i32(kw * DILATION_W);
            if x < 0 || x >= width || x % i32(STRIDE_W) != 0 { continue; }
            let tap = (group.y * KERNEL_H + kh) * KERNEL_W + kw;
            let place = u32(y) / STRIDE_H * params.out_width + u32(x) / STRIDE_W;
            sum += products[tap * places + image * area + place];
        }
    }
    if HAS_BIAS { sum += bias[group.y]; }
    let pixels = params.in_height * params.in_width;
    store((image * params.channels + group.y) * pixels + pixel - image * pixels, sum);
}
