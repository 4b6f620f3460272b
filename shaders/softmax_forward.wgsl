// Softmax, or its logarithm, along the middle axis of (outer, extent, inner). The maximum is
// subtracted first. An invocation per (outer, inner).

@group(0) @binding(0) var<storage, read> input: array<Input>;
@group(0) @binding(1) var<storage, read_write> output: array<Output>;
@group(0) @binding(2) var<uniform> params: Params;

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
    let line = flat_index(group, 64u, thread);
    let outer = line / params.inner;
    if outer >= params.outer { return; }
    let first = outer * params.extent * params.inner + line % params.inner;
    let end = first + params.extent * params.inner;
    var largest = f32(input[first]);
    for (var i = first; i < end; i += params.inner) { largest = max(largest, f32(input[i])); }
    var total = 0.0;
    for (var i = first; i < end; i += params.inner) { total += exponential(f32(input[i]) - largest); }
    let log_total = logarithm(total);
    for (var i = first; i < end; i += params.inner) {
        let shifted = f32(input[i]) - largest;
        output[i] = Output(select(exponential(shifted) / total, shifted - log_total, LOG));
    }
}
