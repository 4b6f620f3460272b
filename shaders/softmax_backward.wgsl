// The gradient of softmax or its logarithm along the middle axis of (outer, extent, inner), from its
// value y: gx = y * (gy - sum of gy * y), or gx = gy - exp(y) * sum of gy. An invocation per
// (outer, inner).

@group(0) @binding(0) var<storage, read> value: array<Value>;
@group(0) @binding(1) var<storage, read> gradient_output: array<f32>;
@group(0) @binding(2) var<storage, read> saved: array<Saved>;
@group(0) @binding(3) var<storage, read_write> output: array<Output>;
@group(0) @binding(4) var<uniform> params: Params;

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
    var sum = 0.0;
    for (var i = first; i < end; i += params.inner) {
        sum += gradient_output[i] * select(f32(value[i]), 1.0, LOG);
    }
    for (var i = first; i < end; i += params.inner) {
        if LOG {
            store(i, gradient_output[i] - exponential(f32(value[i])) * sum);
        } else {
            store(i, f32(value[i]) * (gradient_output[i] - sum));
        }
    }
}
