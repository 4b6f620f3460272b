// Mean pooling to a size, and a function of it: an invocation per output.

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
    let of_rows = span(row % params.out_height, params.in_height, params.out_height);
    let of_columns = span(at % params.out_width, params.in_width, params.out_width);
    var sum = 0.0;
    for (var y = of_rows.x; y < of_rows.y; y++) {
        let first = (plane * params.in_height + y) * params.in_width;
        var row_sum = 0.0;
        for (var x = of_columns.x; x < of_columns.y; x++) { row_sum += f32(input[first + x]); }
        sum += row_sum;
    }
    let count = (of_rows.y - of_rows.x) * (of_columns.y - of_columns.x);
    output[at] = Output(activated(at, sum / f32(count)));
}
