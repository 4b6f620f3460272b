// y = f(gamma * (x - mean) * inverse deviation + beta), or with HAS_ADDEND f of the sum with another value; four
// elements to an invocation. In evaluation mean and variance are the running estimates.

@group(0) @binding(0) var<storage, read> input: array<vec4<Input>>;         // (N, C, plane)
@group(0) @binding(1) var<storage, read> gamma: array<f32>;                 // (C)
@group(0) @binding(2) var<storage, read> beta: array<f32>;                  // (C)
@group(0) @binding(3) var<storage, read> statistics: array<f32>;            // (C, 2), in evaluation the running mean (C)
@group(0) @binding(4) var<storage, read> running_variance: array<f32>;      // (C), in evaluation
@group(0) @binding(5) var<storage, read> addend: array<vec4<Addend>>;       // (N, C, plane)
@group(0) @binding(6) var<storage, read_write> output: array<vec4<Output>>; // (N, C, plane)
@group(0) @binding(7) var<uniform> params: Params;

struct Params {
    batch: u32,
    channels: u32,
    plane: u32,
    epsilon: f32,
}

override TRAINING: bool = true;
override HAS_ADDEND: bool = false;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let at = flat_index(group, 64u, thread);
    let elements = params.batch * params.channels * params.plane;
    if at >= (elements + 3u) / 4u { return; }
    let x = vec4<f32>(input[at]);
    let channel = channels_of(at, params.plane, params.channels);
    var y = vec4(
        normalised(channel.x, x.x),
        normalised(channel.y, x.y),
        normalised(channel.z, x.z),
        normalised(channel.w, x.w),
    );
    if HAS_ADDEND { y += vec4<f32>(addend[at]); }
    y = select(vec4<f32>(), y, elements_inside(at, elements));
    output[at] = vec4<Output>(activated4(at, y));
}

fn normalised(channel: u32, x: f32) -> f32 {
    var mean: f32;
    var inverse: f32;
    if TRAINING {
        mean = statistics[2u * channel];
        inverse = statistics[2u * channel + 1u];
    } else {
        mean = statistics[channel];
        inverse = 1.0 / sqrt(running_variance[channel] + params.epsilon);
    }
    var y = scaled(channel, (x - mean) * inverse);
    if AFFINE { y += beta[channel]; }
    return y;
}
