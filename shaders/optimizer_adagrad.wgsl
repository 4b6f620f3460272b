// Adagrad over a slab of parameters, four to an invocation:
//   g += weight_decay * w;  s += g^2;  w -= learning_rate * g / (sqrt(s) + epsilon)
// where the learning rate has fallen on the host already. The first s is `initial`.

@group(0) @binding(0) var<storage, read> gradient: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> clip: array<f32>; // (2)
@group(0) @binding(2) var<storage, read_write> parameter: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> square: array<vec4<f32>>;
@group(0) @binding(4) var<uniform> params: Params;

struct Params {
    len: u32, // in vectors of four
    first_step: u32,
    gradient_scale: f32,
    learning_rate: f32,
    weight_decay: f32,
    initial: f32,
    epsilon: f32,
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
    var s = vec4<f32>(params.initial);
    if params.first_step == 0u { s = square[at]; }
    s += g * g;
    square[at] = s;
    parameter[at] = w - params.learning_rate * g / (sqrt(s) + params.epsilon);
}
