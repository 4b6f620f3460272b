// What the gradient of softmax of long lines needs, by parts of each line: the sum of gy * y, or of gy for
// the logarithm. A workgroup per line and part; reduce_parts.wgsl adds the parts.

@group(0) @binding(0) var<storage, read> value: array<Value>;
@group(0) @binding(1) var<storage, read> gradient_output: array<f32>;
@group(0) @binding(2) var<storage, read_write> sums: array<f32>; // (parts, outer, inner)
@group(0) @binding(3) var<uniform> params: Params;

struct Params {
    outer: u32,
    extent: u32,
    inner: u32,
    parts: u32,
}

override LOG: bool = false;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let lines = params.outer * params.inner;
    let slot = flat_group(group); // part * lines + line
    if slot / lines >= params.parts { return; }
    let part = part_of(params.extent, params.parts, slot / lines);
    let line = slot % lines;
    let first = line / params.inner * params.extent * params.inner + line % params.inner;
    var sum = 0.0;
    for (var block = part.x + thread; block < part.y; block += BLOCK) {
        let end = min(block + BLOCK, part.y);
        var block_sum = 0.0;
        for (var i = block; i < end; i += 64u) {
            let at = first + i * params.inner;
            block_sum += gradient_output[at] * select(f32(value[at]), 1.0, LOG);
        }
        sum += block_sum;
    }
    let total = reduce_sum(thread, sum);
    if thread == 0u { sums[slot] = total; }
}
