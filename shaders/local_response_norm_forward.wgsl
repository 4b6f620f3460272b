// Local response normalisation: y = f(x * d^-beta) with d = k + factor * s, where s is the sum of the squares
// of the channels of a window at the same position. An invocation per element.

@group(0) @binding(0) var<storage, read> input: array<Input>;         // (N, C, plane)
@group(0) @binding(1) var<storage, read_write> bases: array<f32>;     // (N, C, plane): d, where it is kept
@group(0) @binding(2) var<storage, read_write> output: array<Output>; // (N, C, plane)
@group(0) @binding(3) var<uniform> params: Params;

struct Params {
    batch: u32,
    channels: u32,
    plane: u32,
    before: u32, // channels of a window before its own
    after: u32,
    factor: f32,
    beta: f32,
    k: f32,
}

override KEEP: bool = true;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let at = flat_index(group, 64u, thread);
    if at >= params.batch * params.channels * params.plane { return; }
    let channel = at / params.plane % params.channels;
    let before = min(channel, params.before);
    let window = before + 1u + min(params.channels - 1u - channel, params.after);
    let first = at - before * params.plane;
    var sum = 0.0;
    for (var block = 0u; block < window; block += 16u) {
        let end = min(block + 16u, window);
        var part = 0.0;
        for (var i = block; i < end; i++) {
            let x = f32(input[first + i * params.plane]);
            part += x * x;
        }
        sum += part;
    }
    let d = params.k + params.factor * sum;
    if KEEP { bases[at] = d; }
    output[at] = Output(activated(at, f32(input[at]) * response(d, params.beta)));
}
