// The input gradient of batch normalisation in training, where mean and deviation depend on the
// input too: gx = gamma * inverse deviation * (gy - mean(gy) - x^ * mean(gy * x^)). The two means
// are the gradients of beta and gamma over the count. Four elements to an invocation.

@group(0) @binding(0) var<storage, read> input: array<vec4<Input>>;         // (N, C, plane)
@group(0) @binding(1) var<storage, read> gradient_output: array<vec4<f32>>; // (N, C, plane)
@group(0) @binding(2) var<storage, read> statistics: array<f32>;            // (C, 2): mean, 1 / deviation
@group(0) @binding(3) var<storage, read> gamma: array<f32>;                 // (C)
@group(0) @binding(4) var<storage, read> gradient_gamma: array<f32>;        // (C)
@group(0) @binding(5) var<storage, read> gradient_beta: array<f32>;         // (C)
@group(0) @binding(6) var<storage, read> saved: array<vec4<Saved>>;         // (N, C, plane)
@group(0) @binding(7) var<storage, read_write> output: array<vec4<Output>>; // (N, C, plane)
@group(0) @binding(8) var<uniform> params: Params;

struct Params {
    batch: u32,
    channels: u32,
    plane: u32,
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let at = flat_index(group, 64u, thread);
    let elements = params.batch * params.channels * params.plane;
    if at >= (elements + 3u) / 4u { return; }
    let x = vec4<f32>(input[at]);
    let gradient = gradient_output[at];
    let channel = channels_of(at, params.plane, params.channels);
    let result = vec4(
        input_gradient(channel.x, x.x, gradient.x),
        input_gradient(channel.y, x.y, gradient.y),
        input_gradient(channel.z, x.z, gradient.z),
        input_gradient(channel.w, x.w, gradient.w),
    );
    store4(at, select(vec4<f32>(), result, elements_inside(at, elements)));
}

fn input_gradient(channel: u32, x: f32, gradient: f32) -> f32 {
    let inverse = statistics[2u * channel + 1u];
    let normal = (x - statistics[2u * channel]) * inverse;
    let count = f32(params.batch * params.plane);
    let centred = gradient - gradient_beta[channel] / count - normal * (gradient_gamma[channel] / count);
    return scaled(channel, inverse) * centred;
}
