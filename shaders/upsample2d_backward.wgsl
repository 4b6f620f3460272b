// The gradient of upsampling, gathered: each input position adds up the gradients of the outputs that read
// it, each by its weight, row by row. An invocation per position.

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
    row_step: u32,
    row_offset: i32,
    row_unit: u32,
    row_next: u32,
    row_nearest: f32,
    column_step: u32,
    column_offset: i32,
    column_unit: u32,
    column_next: u32,
    column_nearest: f32,
    row_begin: u32, // of the outputs that this dispatch takes
    row_end: u32,
}

fn rows() -> Axis {
    return Axis(params.in_height, params.out_height,
        params.row_step, params.row_offset, params.row_unit, params.row_next, params.row_nearest);
}

fn columns() -> Axis {
    return Axis(params.in_width, params.out_width,
        params.column_step, params.column_offset, params.column_unit, params.column_next, params.column_nearest);
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
    let of_rows = readers(rows(), y);
    let of_columns = readers(columns(), x);
    var sum = 0.0;
    for (var oy = max(of_rows.x, params.row_begin); oy < min(of_rows.y, params.row_end); oy++) {
        let first = (plane * params.out_height + oy) * params.out_width;
        var row_sum = 0.0;
        for (var ox = of_columns.x; ox < of_columns.y; ox++) {
            row_sum += share(position(columns(), ox), x, gradient_output[first + ox]);
        }
        sum += share(position(rows(), oy), y, row_sum);
    }
    store(at, sum);
}
