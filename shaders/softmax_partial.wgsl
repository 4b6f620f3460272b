// What the softmax of long lines along the middle axis of (outer, extent, inner) needs, by parts of each
// line: the maximum, the sum of exp(x - maximum), and that of exp(x - maximum) * x. A workgroup per line
// and part; softmax_total.wgsl makes one of the parts.

@group(0) @binding(0) var<storage, read> input: array<Input>;
@group(0) @binding(1) var<storage, read_write> partial: array<f32>; // (parts, lines, 3)
@group(0) @binding(2) var<uniform> params: Params;

struct Params {
    outer: u32,
    extent: u32,
    inner: u32,
    parts: u32,
}

// Where a maximum starts: finite, so that a part that is all negative infinity has a sum, of zero.
const LOWEST: f32 = -3.4028234e38;

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
    var largest = LOWEST;
    for (var i = part.x + thread; i < part.y; i += 64u) {
        largest = max(largest, f32(input[first + i * params.inner]));
    }
    largest = reduce_max(thread, largest);
    var sums = vec2<f32>();
    for (var block = part.x + thread; block < part.y; block += BLOCK) {
        let end = min(block + BLOCK, part.y);
        var block_sums = vec2<f32>();
        for (var i = block; i < end; i += 64u) {
            let x = f32(input[first + i * params.inner]);
            let weight = exponential(x - largest);
            block_sums += vec2(weight, weight * x);
        }
        sums += block_sums;
    }
    let total = reduce_sums(thread, sums);
    if thread == 0u {
        partial[3u * slot] = largest;
        partial[3u * slot + 1u] = total.x;
        partial[3u * slot + 2u] = total.y;
    }
}
