// The gradient of mean pooling, gathered: each input position adds up its shares of the gradients of
// the windows that cover it, row by row. An invocation per position. Where there are too many windows for
// one dispatch, several take some rows of them each, and add to what is there.

@group(0) @binding(0) var<storage, read> gradient_output: array<f32>; // (planes, OH, OW)
@group(0) @binding(1) var<storage, read> saved: array<Saved>;         // (planes, H, W)
@group(0) @binding(2) var<storage, read_write> output: array<Output>; // (planes, H, W)
@group(0) @binding(3) var<uniform> params: Params;

struct Params {
    planes: u32,
    in_height: u32,
    in_width: u32,
    out_height: u32,
    out_width: u32,
    row_begin: u32, // of the windows that this dispatch takes
    row_end: u32,
}

// The first window along one axis that reaches a place in the padded plane.
fn first_window(place: u32, kernel: u32, stride: u32) -> u32 {
    if place < kernel { return 0u; }
    return (place - kernel) / stride + 1u;
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let at = flat_index(group, 64u, thread);
    let x = at % params.in_width;
    let row = at / params.in_width;
    let y = row % params.in_height;
    let plane = row / params.in_height;
    if plane >= params.planes { return; }
    let y_begin = max(first_window(y + PAD_TOP, KERNEL_H, STRIDE_H), params.row_begin);
    let y_end = min((y + PAD_TOP) / STRIDE_H + 1u, params.row_end);
    let x_end = min((x + PAD_LEFT) / STRIDE_W + 1u, params.out_width);
    var sum = 0.0;
    for (var oy = y_begin; oy < y_end; oy++) {
        var row_sum = 0.0;
        for (var ox = first_window(x + PAD_LEFT, KERNEL_W, STRIDE_W); ox < x_end; ox++) {
            let gradient = gradient_output[(plane * params.out_height + oy) * params.out_width + ox];
            row_sum += gradient / window_at(oy, ox).divisor;
        }
        sum += row_sum;
    }
    store(at, sum);
}
