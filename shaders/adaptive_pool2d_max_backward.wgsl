// The gradient of max-pooling to a size, gathered: each input position adds up the gradients of those
// windows that cover it and that chose it, row by row. An invocation per position. Where there are too many
// windows for one dispatch, several take some rows of them each, and add to what is there.

@group(0) @binding(0) var<storage, read> gradient_output: array<f32>; // (planes, OH, OW)
@group(0) @binding(1) var<storage, read> argmax: array<u32>;          // (planes, OH, OW)
@group(0) @binding(2) var<storage, read> saved: array<Saved>;         // (planes, H, W)
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
    let over_rows = span(y, params.out_height, params.in_height);
    let over_columns = span(x, params.out_width, params.in_width);
    var sum = 0.0;
    for (var oy = max(over_rows.x, params.row_begin); oy < min(over_rows.y, params.row_end); oy++) {
        let first = (plane * params.out_height + oy) * params.out_width;
        var row_sum = 0.0;
        for (var ox = over_columns.x; ox < over_columns.y; ox++) {
            let chosen = argmax[first + ox] == y * params.in_width + x;
            row_sum += select(0.0, gradient_output[first + ox], chosen);
        }
        sum += row_sum;
    }
    store(at, sum);
}
