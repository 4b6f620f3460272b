// Channels laid out as pixels, or pixels as channels, each of which is the gradient of the other: four
// neighbouring elements of the result to an invocation.

@group(0) @binding(0) var<storage, read> input: array<Input>;
@group(0) @binding(1) var<storage, read> bias: array<f32>; // of pixels: (planes of an example)
@group(0) @binding(2) var<storage, read> saved: array<vec4<Saved>>;
@group(0) @binding(3) var<storage, read_write> output: array<vec4<Output>>;
@group(0) @binding(4) var<uniform> params: Params;

struct Params {
    len: u32,    // elements
    planes: u32, // of pixels in an example
    height: u32, // of the smaller planes
    width: u32,
}

// Rows and columns of a block of pixels.
override FACTOR: u32 = 1u;
// Whether the result is pixels (planes, height * FACTOR, width * FACTOR), else it is channels
// (planes, FACTOR, FACTOR, height, width).
override TO_PIXELS: bool = true;
// Whether the rows of the result consist of whole vectors of four.
override ROWS_VEC4: bool = false;
override HAS_BIAS: bool = false;

fn row_width() -> u32 {
    if TO_PIXELS { return params.width * FACTOR; }
    return params.width;
}

// Where the elements begin that a row of the result is made of.
fn row_at(row: u32) -> u32 {
    if TO_PIXELS {
        let plane = row / (params.height * FACTOR);
        let y = row - plane * params.height * FACTOR;
        return ((plane * FACTOR + y % FACTOR) * FACTOR * params.height + y / FACTOR) * params.width;
    }
    let channel = row / params.height;
    let y = row - channel * params.height;
    let i = channel / FACTOR; // plane * FACTOR + row of the block
    let first = ((i / FACTOR) * params.height + y) * FACTOR + i % FACTOR;
    return first * params.width * FACTOR + channel % FACTOR;
}

// The element of the row that begins there.
fn element_of(row: u32, x: u32) -> f32 {
    if TO_PIXELS {
        return f32(input[row + x % FACTOR * params.height * params.width + x / FACTOR]);
    }
    return f32(input[row + x * FACTOR]);
}

// What is added to the elements of a row of pixels.
fn bias_of(row: u32) -> f32 {
    if HAS_BIAS { return bias[row / (params.height * FACTOR) % params.planes]; }
    return 0.0;
}

fn element(at: u32) -> f32 {
    let place = min(at, params.len - 1u);
    let width = row_width();
    let value = element_of(row_at(place / width), place % width);
    if HAS_BIAS { return value + bias_of(place / width); }
    return value;
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let vector = flat_index(group, 64u, thread);
    let at = 4u * vector;
    if at >= params.len { return; }
    var result: vec4<f32>;
    if ROWS_VEC4 {
        let row = row_at(at / row_width());
        let x = at % row_width();
        result = vec4(
            element_of(row, x),
            element_of(row, x + 1u),
            element_of(row, x + 2u),
            element_of(row, x + 3u),
        );
        if HAS_BIAS { result += bias_of(at / row_width()); }
    } else {
        result = vec4(element(at), element(at + 1u), element(at + 2u), element(at + 3u));
    }
    store4(vector, result);
}
