// NAdam over a slab of parameters, four to an invocation:
//   m = beta1 m + (1 - beta1) g;  v = beta2 v + (1 - beta2) g^2
//   w -= (gradient_share * g + moment_share * m) / (sqrt(v) / root_correction + epsilon)
// where root_correction = sqrt(1 - beta2^t) and the shares, which have the learning rate, come from the
// host, which computes them in double precision. A decoupled decay first multiplies w by `decay`, 1 -
// learning_rate * weight_decay; another adds weight_decay * w to the gradient.

@group(0) @binding(0) var<storage, read> gradient: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> clip: array<f32>; // (2)
@group(0) @binding(2) var<storage, read_write> parameter: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> moment1: array<vec4<f32>>;
@group(0) @binding(4) var<storage, read_write> moment2: array<vec4<f32>>;
@group(0) @binding(5) var<uniform> params: Params;

struct Params {
    len: u32, // in vectors of four
    first_step: u32,
    gradient_scale: f32,
    gradient_share: f32,
    moment_share: f32,
    root_correction: f32,
    beta1: f32,
    one_minus_beta1: f32,
    beta2: f32,
    one_minus_beta2: f32,
    epsilon: f32,
    weight_decay: f32,
    decay: f32,
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let at = flat_index(group, 64u, thread);
    if at >= params.len { return; }
    let w = parameter[at] * params.decay;
    let g = load_gradient(at) + params.weight_decay * w;
    let moments = next_moments(at, g);
    let d = sqrt(moments.v) / params.root_correction + params.epsilon;
    parameter[at] = w - params.gradient_share * g / d - params.moment_share * moments.m / d;
}
