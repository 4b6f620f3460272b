// Adadelta over a slab of parameters, four to an invocation:
//   g += weight_decay * w;  s = rho s + (1 - rho) g^2;  d = sqrt(a + epsilon) / sqrt(s + epsilon) * g
//   a = rho a + (1 - rho) d^2;  w -= learning_rate * d

@group(0) @binding(0) var<storage, read> gradient: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> clip: array<f32>; // (2)
@group(0) @binding(2) var<storage, read_write> parameter: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> square: array<vec4<f32>>; // s
@group(0) @binding(4) var<storage, read_write> steps: array<vec4<f32>>;  // a
@group(0) @binding(5) var<uniform> params: Params;

struct Params {
    len: u32, // in vectors of four
    first_step: u32,
    gradient_scale: f32,
    learning_rate: f32,
    rho: f32,
    one_minus_rho: f32,
    epsilon: f32,
    weight_decay: f32,
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let at = flat_index(group, 64u, thread);
    if at >= params.len { return; }
    let w = parameter[at];
    let g = load_gradient(at) + params.weight_decay * w;
    var s = params.one_minus_rho * g * g;
    var a = vec4<f32>();
    if params.first_step == 0u {
        s += params.rho * square[at];
        a = steps[at];
    }
    square[at] = s;
    let d = sqrt(a + params.epsilon) / sqrt(s + params.epsilon) * g;
    steps[at] = params.rho * a + params.one_minus_rho * d * d;
    parameter[at] = w - params.learning_rate * d;
}
