// Two values, element by element: y = f(left + right) or f(left * right + offset), four elements to an
// invocation. A side may lack the channels or the positions of the result; each of its numbers then
// counts for all of them.

@group(0) @binding(0) var<storage, read> left: array<vec4<Left>>;
@group(0) @binding(1) var<storage, read> right: array<vec4<Right>>;
@group(0) @binding(2) var<storage, read> offset: array<f32>;                // (C)
@group(0) @binding(3) var<storage, read> saved: array<vec4<Saved>>;         // (N, C, plane)
@group(0) @binding(4) var<storage, read_write> output: array<vec4<Output>>; // (N, C, plane)
@group(0) @binding(5) var<uniform> params: Params;

struct Params {
    len: u32, // elements of the result
    channels: u32,
    plane: u32,
}

override MULTIPLY: bool = false;
override HAS_OFFSET: bool = false;
// How the sides lie: one of these.
override LEFT: u32 = 0u;
override RIGHT: u32 = 0u;
const WHOLE = 0u;     // (N, C, plane)
const CHANNELS = 1u;  // (N, C)
const POSITIONS = 2u; // (N, plane)
const EXAMPLES = 3u;  // (N)
const LEARNED = 4u;   // (C), the same for all examples
// Whether planes consist of whole vectors, so that the elements of one have a channel in common.
override PLANE_VEC4: bool = false;

// Where the number of a side lies that belongs to an element. What fills up the last vector is beyond the
// result, and takes the last one.
fn place(side: u32, element: u32) -> u32 {
    let at = min(element, params.len - 1u);
    let row = at / params.plane; // n * channels + channel
    if side == CHANNELS { return row; }
    if side == LEARNED { return row % params.channels; }
    let n = row / params.channels;
    if side == EXAMPLES { return n; }
    return n * params.plane + at % params.plane;
}

fn left_at(i: u32) -> f32 { return f32(left[i / 4u][i % 4u]); }

fn right_at(i: u32) -> f32 { return f32(right[i / 4u][i % 4u]); }

fn left4(at: u32) -> vec4<f32> {
    if LEFT == WHOLE { return vec4<f32>(left[at]); }
    let i = place(LEFT, 4u * at);
    if PLANE_VEC4 && LEFT == POSITIONS { return vec4<f32>(left[i / 4u]); }
    if PLANE_VEC4 { return vec4(left_at(i)); }
    return vec4(
        left_at(i),
        left_at(place(LEFT, 4u * at + 1u)),
        left_at(place(LEFT, 4u * at + 2u)),
        left_at(place(LEFT, 4u * at + 3u)),
    );
}

fn right4(at: u32) -> vec4<f32> {
    if RIGHT == WHOLE { return vec4<f32>(right[at]); }
    let i = place(RIGHT, 4u * at);
    if PLANE_VEC4 && RIGHT == POSITIONS { return vec4<f32>(right[i / 4u]); }
    if PLANE_VEC4 { return vec4(right_at(i)); }
    return vec4(
        right_at(i),
        right_at(place(RIGHT, 4u * at + 1u)),
        right_at(place(RIGHT, 4u * at + 2u)),
        right_at(place(RIGHT, 4u * at + 3u)),
    );
}

fn offset4(at: u32) -> vec4<f32> {
    if PLANE_VEC4 { return vec4(offset[place(LEARNED, 4u * at)]); }
    return vec4(
        offset[place(LEARNED, 4u * at)],
        offset[place(LEARNED, 4u * at + 1u)],
        offset[place(LEARNED, 4u * at + 2u)],
        offset[place(LEARNED, 4u * at + 3u)],
    );
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let at = flat_index(group, 64u, thread);
    if at >= (params.len + 3u) / 4u { return; }
    let a = left4(at);
    let b = right4(at);
    var result = a + b;
    if MULTIPLY { result = a * b; }
    if HAS_OFFSET { result += offset4(at); }
    store4(at, result);
}
