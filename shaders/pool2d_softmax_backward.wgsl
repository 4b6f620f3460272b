// The gradient of softmax-weighted pooling: gx = gy * softmax(x) * (1 + x - y). An invocation per
// position.

@group(0) @binding(0) var<storage, read> input: array<Input>;         // (planes, len)
@group(0) @binding(1) var<storage, read> pooled: array<Pooled>;       // (planes)
@group(0) @binding(2) var<storage, read> statistics: array<f32>;      // (planes, 2), see the forward pass
@group(0) @binding(3) var<storage, read> gradient_output: array<f32>; // (planes)
@group(0) @binding(4) var<storage, read> saved: array<Saved>;         // (planes, len)
@group(0) @binding(5) var<storage, read_write> output: array<Output>; // (planes, len)
@group(0) @binding(6) var<uniform> params: Params;

struct Params {
    planes: u32,
    len: u32,
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let at = flat_index(group, 64u, thread);
    let plane = at / params.len;
    if plane >= params.planes { return; }
    let x = f32(input[at]);
    let softmax = exponential(x - statistics[2u * plane]) / statistics[2u * plane + 1u];
    store(at, gradient_output[plane] * softmax * (1.0 + x - f32(pooled[plane])));
}
