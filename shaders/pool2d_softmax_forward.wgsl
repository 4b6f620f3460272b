// A plane's mean weighted with its own softmax, y = sum of softmax(x) * x. An invocation per plane.

@group(0) @binding(0) var<storage, read> input: array<Input>;         // (planes, len)
@group(0) @binding(1) var<storage, read_write> output: array<Output>; // (planes)
// (planes, 2): the maximum, and the sum of exp(x - maximum)
@group(0) @binding(2) var<storage, read_write> statistics: array<f32>;
@group(0) @binding(3) var<uniform> params: Params;

struct Params {
    planes: u32,
    len: u32,
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let plane = flat_index(group, 64u, thread);
    if plane >= params.planes { return; }
    let first = plane * params.len;
    let len = loop_bound(params.len, group);
    var largest = f32(input[first]);
    for (var i = 1u; i < len; i++) { largest = max(largest, f32(input[first + i])); }
    var total = 0.0;
    var weighted = 0.0;
    for (var i = 0u; i < len; i++) {
        let weight = exponential(f32(input[first + i]) - largest);
        total += weight;
        weighted += weight * f32(input[first + i]);
    }
    output[plane] = Output(weighted / total);
    statistics[2u * plane] = largest;
    statistics[2u * plane + 1u] = total;
}
