// The gradient of max-pooling, gathered: each input position adds up the gradients of those windows
// that cover it and that chose it, row by row. Where there are too many windows for one dispatch,
// several take some rows of them each, and add to what is there.
//
// An invocation writes a strip: four neighbouring positions of one input row. With PAIRS it writes
// two rows of eight: the windows of four outputs.

@group(0) @binding(0) var<storage, read> gradient_output: array<vec4<f32>>; // (planes, OH, OW)
@group(0) @binding(1) var<storage, read> argmax: array<vec4<u32>>;          // (planes, OH, OW)
@group(0) @binding(2) var<storage, read> saved: array<Saved>;               // (planes, H, W)
// Scalars, since a strip may end within a vector that another invocation writes the rest of.
@group(0) @binding(3) var<storage, read_write> output: array<Output>; // (planes, H, W)
@group(0) @binding(4) var<uniform> params: Params;

struct Params {
    planes: u32,
    in_height: u32,
    in_width: u32,
    out_height: u32,
    out_width: u32,
    row_begin: u32, // of the windows that this dispatch takes
    row_end: u32,
}

// Windows of 2x2 side by side that cover the input exactly, rows of the output in whole vectors.
override PAIRS: bool = false;

// The input row whose first element is number `place` of its plane, under four windows.
fn store_pairs(at: u32, place: u32, gradient: vec4<f32>, chosen: vec4<u32>) {
    let even = select(vec4<f32>(), gradient, chosen == vec4(place) + vec4(0u, 2u, 4u, 6u));
    let odd = select(vec4<f32>(), gradient, chosen == vec4(place) + vec4(1u, 3u, 5u, 7u));
    store(at, even.x);
    store(at + 1u, odd.x);
    store(at + 2u, even.y);
    store(at + 3u, odd.y);
    store(at + 4u, even.z);
    store(at + 5u, odd.z);
    store(at + 6u, even.w);
    store(at + 7u, odd.w);
}

fn pairs(strip: u32) {
    let strips = params.out_width / 4u;
    let out_row = strip / strips;
    let out_x = (strip - out_row * strips) * 4u;
    let plane = out_row / params.out_height;
    if plane >= params.planes { return; }
    let window = (out_row * params.out_width + out_x) / 4u;
    let at = out_row * 2u * params.in_width + out_x * 2u;
    let place = at - plane * params.in_height * params.in_width;
    store_pairs(at, place, gradient_output[window], argmax[window]);
    store_pairs(at + params.in_width, place + params.in_width, gradient_output[window], argmax[window]);
}

// The first window along one axis that reaches a place in the padded plane.
fn first_window(place: u32, kernel: u32, stride: u32, dilation: u32) -> u32 {
    let reach = (kernel - 1u) * dilation;
    if place <= reach { return 0u; }
    return (place - reach + stride - 1u) / stride;
}

fn windows(strip: u32) {
    let strips = (params.in_width + 3u) / 4u;
    let in_row = strip / strips; // plane * in_height + y
    let in_x = (strip - in_row * strips) * 4u;
    let plane = in_row / params.in_height;
    if plane >= params.planes { return; }
    let y = in_row - plane * params.in_height;
    let place = vec4(y * params.in_width + in_x) + vec4(0u, 1u, 2u, 3u);
    let y_begin = max(first_window(y + PAD_TOP, KERNEL_H, STRIDE_H, DILATION_H), params.row_begin);
    let x_begin = first_window(in_x + PAD_LEFT, KERNEL_W, STRIDE_W, DILATION_W);
    let y_end = min((y + PAD_TOP) / STRIDE_H + 1u, params.row_end);
    let x_end = min((in_x + 3u + PAD_LEFT) / STRIDE_W + 1u, params.out_width);
    var sum = vec4<f32>();
    for (var oy = y_begin; oy < y_end; oy++) {
        var row_sum = vec4<f32>();
        for (var ox = x_begin; ox < x_end; ox++) {
            let window = (plane * params.out_height + oy) * params.out_width + ox;
            let gradient = gradient_output[window / 4u][window % 4u];
            row_sum += select(vec4<f32>(), vec4(gradient), place == vec4(argmax[window / 4u][window % 4u]));
        }
        sum += row_sum;
    }
    let at = in_row * params.in_width + in_x;
    let left_over = params.in_width - in_x;
    store(at, sum.x);
    if left_over > 1u { store(at + 1u, sum.y); }
    if left_over > 2u { store(at + 2u, sum.z); }
    if left_over > 3u { store(at + 3u, sum.w); }
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let strip = flat_index(group, 64u, thread);
    if PAIRS { pairs(strip); } else { windows(strip); }
}
