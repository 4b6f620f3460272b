// x where x > 0, else its channel's weight times x, four values to an invocation. With the gradient of such
// a layer's output for `values`, that of its input: what is multiplied is told by x in both.

@group(0) @binding(0) var<storage, read> input: array<vec4<Input>>;         // (N, C, plane)
@group(0) @binding(1) var<storage, read> values: array<vec4<Values>>;       // the same, or its gradient
@group(0) @binding(2) var<storage, read> weight: array<f32>;                // (C)
@group(0) @binding(3) var<storage, read> saved: array<vec4<Saved>>;         // as the output
@group(0) @binding(4) var<storage, read_write> output: array<vec4<Output>>; // as the input
@group(0) @binding(5) var<uniform> params: Params;

struct Params {
    len: u32, // in vectors of four
    channels: u32,
    plane: u32, // in vectors of four with PLANE_VEC4
}

override PLANE_VEC4: bool = false;

fn weight_of(at: u32) -> f32 {
    return weight[at / params.plane % params.channels];
}

// Told by the bits. The gradient at NaN is that of what is negative.
fn positive(x: f32) -> bool {
    return bitcast<i32>(x) > 0 && !is_nan(x);
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let at = flat_index(group, 64u, thread);
    if at >= params.len { return; }
    var weights: vec4<f32>;
    if PLANE_VEC4 {
        weights = vec4(weight_of(at));
    } else {
        let first = 4u * at;
        weights = vec4(weight_of(first), weight_of(first + 1u), weight_of(first + 2u), weight_of(first + 3u));
    }
    let x = vec4<f32>(input[at]);
    let value = vec4<f32>(values[at]);
    let copied = vec4(positive(x.x), positive(x.y), positive(x.z), positive(x.w));
    store4(at, select(weights * value, value, copied));
}
