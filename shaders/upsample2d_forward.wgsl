// Planes made larger or smaller by interpolation, and a function of the result: four neighbouring elements
// to an invocation.

@group(0) @binding(0) var<storage, read> input: array<Input>;               // (planes, H, W)
@group(0) @binding(1) var<storage, read_write> output: array<vec4<Output>>; // (planes, OH, OW)
@group(0) @binding(2) var<uniform> params: Params;

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
}

// Whether the rows of the output consist of whole vectors of four.
override ROWS_VEC4: bool = false;

fn rows() -> Axis {
    return Axis(params.in_height, params.out_height,
        params.row_step, params.row_offset, params.row_unit, params.row_next, params.row_nearest);
}

fn columns() -> Axis {
    return Axis(params.in_width, params.out_width,
        params.column_step, params.column_offset, params.column_unit, params.column_next, params.column_nearest);
}

// Where the rows begin that a row of the output is made of, and their weights.
struct Row {
    first: u32,
    second: u32,
    first_weight: f32,
    second_weight: f32,
}

fn row_at(out_row: u32) -> Row {
    let plane = out_row / params.out_height;
    let at = position(rows(), out_row - plane * params.out_height);
    let first = (plane * params.in_height + at.first) * params.in_width;
    let second = (plane * params.in_height + at.second) * params.in_width;
    return Row(first, second, at.first_weight, at.second_weight);
}

fn sample(row: Row, x: u32) -> f32 {
    let at = position(columns(), x);
    if NEAREST { return f32(input[row.first + at.first]); }
    let above = at.first_weight * f32(input[row.first + at.first])
        + at.second_weight * f32(input[row.first + at.second]);
    let below = at.first_weight * f32(input[row.second + at.first])
        + at.second_weight * f32(input[row.second + at.second]);
    return row.first_weight * above + row.second_weight * below;
}

fn element(at: u32) -> f32 {
    let last = params.planes * params.out_height * params.out_width - 1u;
    let place = min(at, last);
    return sample(row_at(place / params.out_width), place % params.out_width);
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let vector = flat_index(group, 64u, thread);
    let at = 4u * vector;
    if at >= params.planes * params.out_height * params.out_width { return; }
    var result: vec4<f32>;
    if ROWS_VEC4 {
        let row = row_at(at / params.out_width);
        let x = at % params.out_width;
        result = vec4(sample(row, x), sample(row, x + 1u), sample(row, x + 2u), sample(row, x + 3u));
    } else {
        result = vec4(element(at), element(at + 1u), element(at + 2u), element(at + 3u));
    }
    output[vector] = vec4<Output>(activated4(vector, result));
}
