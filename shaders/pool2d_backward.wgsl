// The gradient of max-pooling, gathered: each input position asks the windows that cover it which
// of them chose it, and adds up their gradients in row-major order.

@group(0) @binding(0) var<storage, read> gradient_output: array<f32>; // (planes, OH, OW)
@group(0) @binding(1) var<storage, read> argmax: array<u32>;          // (planes, OH, OW)
@group(0) @binding(2) var<storage, read> forward: array<f32>;         // (planes, H, W), see GRADIENT_OF
@group(0) @binding(3) var<storage, read_write> gradient_input: array<f32>; // (planes, H, W)
@group(0) @binding(4) var<uniform> params: Params;

struct Params {
    planes: u32,
    in_height: u32,
    in_width: u32,
    out_height: u32,
    out_width: u32,
}

override KERNEL_H: u32 = 1u;
override KERNEL_W: u32 = 1u;
override STRIDE_H: u32 = 1u;
override STRIDE_W: u32 = 1u;
override PAD_TOP: u32 = 0u;
override PAD_LEFT: u32 = 0u;
override DILATION_H: u32 = 1u;
override DILATION_W: u32 = 1u;
// The function whose value `forward` is: the result is the gradient with respect to its argument.
override GRADIENT_OF: u32 = 0u;
override ACCUMULATE: bool = false;

// The first window along one axis that reaches a place in the padded plane.
fn first_window(place: u32, kernel: u32, stride: u32, dilation: u32) -> u32 {
    let reach = (kernel - 1u) * dilation;
    if place <= reach { return 0u; }
    return (place - reach + stride - 1u) / stride;
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

    let here = y * params.in_width + x;
    let y_begin = first_window(y + PAD_TOP, KERNEL_H, STRIDE_H, DILATION_H);
    let x_begin = first_window(x + PAD_LEFT, KERNEL_W, STRIDE_W, DILATION_W);
    let y_end = min((y + PAD_TOP) / STRIDE_H + 1u, params.out_height);
    let x_end = min((x + PAD_LEFT) / STRIDE_W + 1u, params.out_width);
    var sum = 0.0;
    for (var oy = y_begin; oy < y_end; oy++) {
        for (var ox = x_begin; ox < x_end; ox++) {
            let window = (plane * params.out_height + oy) * params.out_width + ox;
            if argmax[window] == here { sum += gradient_output[window]; }
        }
    }
    if GRADIENT_OF != 0u { sum = activation_gradient(GRADIENT_OF, forward[at], sum); }
    if ACCUMULATE { sum += gradient_input[at]; }
    gradient_input[at] = sum;
}
