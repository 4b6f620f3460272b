// The gradient of softmax or its logarithm along long lines, as in softmax_backward.wgsl, from the sum
// over each line. An invocation per element.

@group(0) @binding(0) var<storage, read> value: array<Value>;
@group(0) @binding(1) var<storage, read> gradient_output: array<f32>;
@group(0) @binding(2) var<storage, read> sums: array<f32>; // (outer, inner)
@group(0) @binding(3) var<storage, read> saved: array<Saved>;
@group(0) @binding(4) var<storage, read_write> output: array<Output>;
@group(0) @binding(5) var<uniform> params: Params;

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
    let sum = sums[outer * params.inner + at % params.inner];
    if LOG {
        store(at, gradient_output[at] - exponential(f32(value[at])) * sum);
    } else {
        store(at, f32(value[at]) * (gradient_output[at] - sum));
    }
}
