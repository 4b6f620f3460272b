// The gradient of local response normalisation: gx = gy * d^-beta - 2 * beta * factor * x * r, where r is the
// sum of gy * x * d^-(beta + 1) over the channels in whose windows x lies. An invocation per element.

@group(0) @binding(0) var<storage, read> input: array<Input>;         // (N, C, plane)
@group(0) @binding(1) var<storage, read> gradient_output: array<f32>; // (N, C, plane)
@group(0) @binding(2) var<storage, read> bases: array<f32>;           // (N, C, plane): d
@group(0) @binding(3) var<storage, read> saved: array<Saved>;         // (N, C, plane)
@group(0) @binding(4) var<storage, read_write> output: array<Output>; // (N, C, plane)
@group(0) @binding(5) var<uniform> params: Params;

struct Params {
    batch: u32,
    channels: u32,
    plane: u32,
    before: u32, // channels of a window before its own
    after: u32,
    factor: f32,
    beta: f32,
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let at = flat_index(group, 64u, thread);
    if at >= params.batch * params.channels * params.plane { return; }
    let channel = at / params.plane % params.channels;
    // The windows that reach here begin after it where they reach far before, and the other way round.
    let before = min(channel, params.after);
    let windows = before + 1u + min(params.channels - 1u - channel, params.before);
    let first = at - before * params.plane;
    var sum = 0.0;
    for (var block = 0u; block < windows; block += 16u) {
        let end = min(block + 16u, windows);
        var part = 0.0;
        for (var i = block; i < end; i++) {
            let other = first + i * params.plane;
            let d = bases[other];
            part += gradient_output[other] * (f32(input[other]) * response(d, params.beta) / d);
        }
        sum += part;
    }
    let direct = gradient_output[at] * response(bases[at], params.beta);
    store(at, direct - 2.0 * params.beta * params.factor * f32(input[at]) * sum);
}
