// Copies a block of each row of one value to a row of another, four elements to an invocation: out of the
// value that a range is taken from, or, for the gradient, into it, with zeros around.

@group(0) @binding(0) var<storage, read> input: array<vec4<Input>>;         // (rows, input_row)
@group(0) @binding(1) var<storage, read> saved: array<vec4<Saved>>;         // (rows, row)
@group(0) @binding(2) var<storage, read_write> output: array<vec4<Output>>; // (rows, row)
@group(0) @binding(3) var<uniform> params: Params;

struct Params {
    len: u32, // elements of the output
    row: u32,
    input_row: u32,
    shift: u32, // from a place in an output row to that in the input row, modulo 2^32
}

// Whether all of these are whole vectors.
override VEC4: bool = false;

// Where the input for an element lies, or none. What fills up the last vector takes the last element's.
const NONE = 0xffffffffu;

fn place(element: u32) -> u32 {
    let at = min(element, params.len - 1u);
    let i = at % params.row + params.shift;
    return select(at / params.row * params.input_row + i, NONE, i >= params.input_row);
}

fn value(element: u32) -> f32 {
    let i = place(element);
    if i == NONE { return 0.0; }
    return f32(input[i / 4u][i % 4u]);
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let at = flat_index(group, 64u, thread);
    if at >= (params.len + 3u) / 4u { return; }
    var result = vec4<f32>();
    if VEC4 {
        let i = place(4u * at);
        if i != NONE { result = vec4<f32>(input[i / 4u]); }
    } else {
        result = vec4(value(4u * at), value(4u * at + 1u), value(4u * at + 2u), value(4u * at + 3u));
    }
    store4(at, result);
}
