// The gradient with respect to x of y = f(x), element by element, four to an invocation. With the
// identity for f it copies a gradient, or adds one to another.

@group(0) @binding(0) var<storage, read> output: array<vec4<f32>>; // y
@group(0) @binding(1) var<storage, read> gradient_output: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> forward: array<vec4<f32>>; // x, see GRADIENT_OF
@group(0) @binding(3) var<storage, read_write> gradient_input: array<vec4<f32>>;
@group(0) @binding(4) var<uniform> params: Params;

struct Params {
    len: u32, // in vectors of four
}

override ACTIVATION: u32 = 0u;
// The function whose value `forward` is: the result is the gradient with respect to its argument.
override GRADIENT_OF: u32 = 0u;
override ACCUMULATE: bool = false;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let at = flat_index(group, 64u, thread);
    if at >= params.len { return; }
    var result = gradient_output[at];
    if ACTIVATION != 0u { result = activation_gradient4(ACTIVATION, output[at], result); }
    if GRADIENT_OF != 0u { result = activation_gradient4(GRADIENT_OF, forward[at], result); }
    if ACCUMULATE { result += gradient_input[at]; }
    gradient_input[at] = result;
}
