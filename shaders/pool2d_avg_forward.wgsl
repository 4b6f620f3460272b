// Mean pooling, and a function of it: an invocation per output. The sum over a window is divided by the window's extent
// within the padded plane, or within the plane itself where the padding does not count.

@group(0) @binding(0) var<storage, read> input: array<Input>;         // (planes, H, W)
@group(0) @binding(1) var<storage, read_write> output: array<Output>; // (planes, OH, OW)
@group(0) @binding(2) var<uniform> params: Params;

struct Params {
    planes: u32,
    in_height: u32,
    in_width: u32,
    out_height: u32,
    out_width: u32,
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let at = flat_index(group, 64u, thread);
    let row = at / params.out_width;
    let plane = row / params.out_height;
    if plane >= params.planes { return; }
    let window = window_at(row % params.out_height, at % params.out_width);
    var sum = 0.0;
    for (var y = window.y_begin; y < window.y_end; y++) {
        var row_sum = 0.0;
        for (var x = window.x_begin; x < window.x_end; x++) {
            row_sum += f32(input[(plane * params.in_height + y) * params.in_width + x]);
        }
        sum += row_sum;
    }
    output[at] = Output(activated(at, sum / window.divisor));
}
