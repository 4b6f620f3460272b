// Stochastic gradient descent with momentum, over a slab of parameters, four to an invocation:
//   g += weight_decay * w;  v = momentum * v + (1 - dampening) * g;  w -= learning_rate * v
// The first velocity is the gradient itself; with Nesterov's momentum w -= learning_rate * (g +
// momentum * v). Without momentum `velocity` is absent.

@group(0) @binding(0) var<storage, read> gradient: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> clip: array<f32>; // (2)
@group(0) @binding(2) var<storage, read_write> parameter: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> velocity: array<vec4<f32>>;
@group(0) @binding(4) var<uniform> params: Params;

struct Params {
    len: u32, // in vectors of four
    first_step: u32,
    gradient_scale: f32,
    learning_rate: f32,
    momentum: f32,
    one_minus_dampening: f32,
    weight_decay: f32,
}

override HAS_MOMENTUM: bool = false;
override NESTEROV: bool = false;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let at = flat_index(group, 64u, thread);
    if at >= params.len { return; }
    let w = parameter[at];
    let g = load_gradient(at) + params.weight_decay * w;
    var direction = g;
    if HAS_MOMENTUM {
        var v = g;
        if params.first_step == 0u {
            v = params.momentum * velocity[at] + params.one_minus_dampening * g;
        }
        velocity[at] = v;
        direction = v;
        if NESTEROV { direction = g + params.momentum * v; }
    }
    parameter[at] = w - params.learning_rate * direction;
}
