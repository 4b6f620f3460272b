// Softmax, or its logarithm, of long lines along the middle axis of (outer, extent, inner), of which
// maximum and sum are there already. An invocation per element.

@group(0) @binding(0) var<storage, read> input: array<Input>;
@group(0) @binding(1) var<storage, read> statistics: array<f32>; // (outer, inner, 2): maximum, sum of exp(x - maximum)
@group(0) @binding(2) var<storage, read_write> output: array<Output>;
@group(0) @binding(3) var<uniform> params: Params;

struct Params {
    outer: u32,
    extent: u32,
    inner: u32,
}

override LOG: bool = false;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let at = flat_index(group, 64u, thread);
    let outer = at / (params.extent * params.inner);
    if outer >= params.outer { return; }
    let line = outer * params.inner + at % params.inner;
    let shifted = f32(input[at]) - statistics[2u * line];
    let total = statistics[2u * line + 1u];
    if LOG {
        output[at] = Output(shifted - logarithm(total));
    } else {
        output[at] = Output(exponential(shifted) / total);
    }
}
