// The gradient with respect to x of y = f(x), element by element, four to an invocation. With IN_PLACE it takes
// the place of the gradient with respect to y.

@group(0) @binding(0) var<storage, read> source: array<vec4<Source>>; // y or x, see activation_gradient
@group(0) @binding(1) var<storage, read> gradient_output: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> saved: array<vec4<Saved>>;
@group(0) @binding(3) var<storage, read_write> output: array<vec4<Output>>;
@group(0) @binding(4) var<uniform> params: Params;

struct Params {
    len: u32, // in vectors of four
}

// The function f, and the numbers that it depends on.
override FUNCTION: u32 = 0u;
override FUNCTION_A: f32 = 0.0;
override FUNCTION_B: f32 = 0.0;
override IN_PLACE: bool = false;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let at = flat_index(group, 64u, thread);
    if at >= params.len { return; }
    let saved = vec4<f32>(source[at]);
    var gradient: vec4<f32>;
    if IN_PLACE { gradient = vec4<f32>(output[at]); } else { gradient = gradient_output[at]; }
    store4(at, activation_gradient4(FUNCTION, FUNCTION_A, FUNCTION_B, saved, gradient));
}
