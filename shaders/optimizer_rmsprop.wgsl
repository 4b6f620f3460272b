// RMSprop over a slab of parameters, four to an invocation:
//   s = alpha s + (1 - alpha) g^2;  d = sqrt(s) + epsilon;  w -= learning_rate * g / d
// Centered, d = sqrt(s - a^2) + epsilon with a the running mean of g; with momentum the quotient
// goes into a velocity, v = momentum v + g / d, and w -= learning_rate * v.

@group(0) @binding(0) var<storage, read> gradient: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> clip: array<f32>; // (2)
@group(0) @binding(2) var<storage, read_write> parameter: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> square: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> average: array<vec4<f32>>;  // if centered
@group(0) @binding(5) var<storage, read_write> velocity: array<vec4<f32>>; // with momentum
@group(0) @binding(6) var<uniform> params: Params;

struct Params {
    len: u32, // in vectors of four
    first_step: u32,
    gradient_scale: f32,
    learning_rate: f32,
    alpha: f32,
    one_minus_alpha: f32,
    epsilon: f32,
    momentum: f32,
    weight_decay: f32,
}

override CENTERED: bool = false;
override HAS_MOMENTUM: bool = false;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let at = flat_index(group, 64u, thread);
    if at >= params.len { return; }
    let w = parameter[at];
    let g = load_gradient(at) + params.weight_decay * w;
    let first = params.first_step != 0u;
    var s = params.one_minus_alpha * g * g;
    if !first { s += params.alpha * square[at]; }
    square[at] = s;
    if CENTERED {
        var a = params.one_minus_alpha * g;
        if !first { a += params.alpha * average[at]; }
        average[at] = a;
        s -= a * a;
        s = select(s, vec4<f32>(), s < vec4<f32>()); // rounding may leave less than nothing
    }
    var direction = g / (sqrt(s) + params.epsilon);
    if HAS_MOMENTUM {
        if !first { direction += params.momentum * velocity[at]; }
        velocity[at] = direction;
    }
    parameter[at] = w - params.learning_rate * direction;
}
