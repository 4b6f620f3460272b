// Lion over a slab of parameters, four to an invocation:
//   w -= learning_rate * sign(beta1 m + (1 - beta1) g);  m = beta2 m + (1 - beta2) g
// after w has been multiplied by `decay`, 1 - learning_rate * weight_decay.

@group(0) @binding(0) var<storage, read> gradient: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> clip: array<f32>; // (2)
@group(0) @binding(2) var<storage, read_write> parameter: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> moment: array<vec4<f32>>;
@group(0) @binding(4) var<uniform> params: Params;

struct Params {
    len: u32, // in vectors of four
    first_step: u32,
    gradient_scale: f32,
    learning_rate: f32,
    beta1: f32,
    one_minus_beta1: f32,
    beta2: f32,
    one_minus_beta2: f32,
    decay: f32,
}

// What the sign of NaN is, WGSL leaves open: here it is NaN.
fn direction(c: f32) -> f32 {
    if is_nan(c) { return c; }
    return sign(c);
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let at = flat_index(group, 64u, thread);
    if at >= params.len { return; }
    let g = load_gradient(at);
    var m = vec4<f32>();
    if params.first_step == 0u { m = moment[at]; }
    let c = params.beta1 * m + params.one_minus_beta1 * g;
    let step = vec4<f32>(direction(c.x), direction(c.y), direction(c.z), direction(c.w));
    moment[at] = params.beta2 * m + params.one_minus_beta2 * g;
    parameter[at] = parameter[at] * params.decay - params.learning_rate * step;
}
