// The gradient of padding, gathered: each input value adds up the gradients of the places that show it, row
// by row. An invocation per value.

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
    top: u32,
    left: u32,
}

const NOWHERE: u32 = 0xffffffffu;

// The places along an axis that show a value: those from begin up to end, and two others.
struct Places {
    begin: u32,
    end: u32,
    first: u32,
    second: u32,
}

fn places_of(i: u32, before: u32, extent: u32, out: u32) -> Places {
    let after = out - extent - before;
    let last = extent - 1u;
    var places = Places(before + i, before + i + 1u, NOWHERE, NOWHERE);
    switch MODE {
        case REFLECT: {
            if i > 0u && i <= before { places.first = before - i; }
            if i < last && last - i <= after { places.second = before + last + (last - i); }
        }
        case REPLICATE: {
            if i == 0u { places.begin = 0u; }
            if i == last { places.end = out; }
        }
        case CIRCULAR: {
            if extent - i <= before { places.first = before - (extent - i); }
            if i < after { places.second = before + extent + i; }
        }
        default: {}
    }
    return places;
}

fn row_sum(row: u32, columns: Places) -> f32 {
    let at = row * params.out_width;
    var sum = 0.0;
    for (var x = columns.begin; x < columns.end; x++) { sum += gradient_output[at + x]; }
    if columns.first != NOWHERE { sum += gradient_output[at + columns.first]; }
    if columns.second != NOWHERE { sum += gradient_output[at + columns.second]; }
    return sum;
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let at = flat_index(group, 64u, thread);
    let row = at / params.in_width;
    let plane = row / params.in_height;
    if plane >= params.planes { return; }
    let rows = places_of(row % params.in_height, params.top, params.in_height, params.out_height);
    let columns = places_of(at % params.in_width, params.left, params.in_width, params.out_width);
    let first = plane * params.out_height;
    var sum = 0.0;
    for (var y = rows.begin; y < rows.end; y++) { sum += row_sum(first + y, columns); }
    if rows.first != NOWHERE { sum += row_sum(first + rows.first, columns); }
    if rows.second != NOWHERE { sum += row_sum(first + rows.second, columns); }
    store(at, sum);
}
