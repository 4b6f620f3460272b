// The gradient of what counts for all channels, or for few positions: the output gradient, times another
// value where there is one, summed over the middle axis; and the sum without that value. An invocation per
// result and part of its sum. Where there are several parts, reduce_parts.wgsl adds them.

@group(0) @binding(0) var<storage, read> gradient_output: array<f32>; // (outer, len, inner)
@group(0) @binding(1) var<storage, read> other: array<Other>;         // (outer, len, inner), or (outer / sharing, len)
@group(0) @binding(2) var<storage, read> saved: array<Saved>;         // (outer, inner)
@group(0) @binding(3) var<storage, read_write> output: array<Output>; // (parts, outer, inner)
@group(0) @binding(4) var<storage, read_write> plain: array<f32>;     // (parts, outer, inner)
@group(0) @binding(5) var<uniform> params: Params;

struct Params {
    outer: u32,
    len: u32,
    inner: u32,
    parts: u32,
    sharing: u32, // of the outer axis that have a row of the other value in common
}

// Whether there is another value: 0, or 1 where it lies as the gradient, or 2 where it is one of rows.
override OTHER: u32 = 0u;
override HAS_PLAIN: bool = false;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let slot = flat_index(group, 64u, thread); // (part * outer + row) * inner + i
    let result = slot % (params.outer * params.inner);
    let part = slot / (params.outer * params.inner);
    if part >= params.parts { return; }
    let row = result / params.inner;
    let first = row * params.len * params.inner + result % params.inner;
    let shared_row = row / params.sharing * params.len;
    let range = part_of(params.len, params.parts, part);
    var sums = vec2<f32>();
    // In blocks, so that no sum is long enough to lose digits.
    for (var block = range.x; block < range.y; block += 16u) {
        let end = min(block + 16u, range.y);
        var block_sums = vec2<f32>();
        for (var i = block; i < end; i++) {
            let at = first + i * params.inner;
            let gradient = gradient_output[at];
            var factor = 1.0;
            if OTHER == 1u { factor = f32(other[at]); }
            if OTHER == 2u { factor = f32(other[shared_row + i]); }
            block_sums += vec2(gradient * factor, gradient);
        }
        sums += block_sums;
    }
    store(slot, sums.x);
    if HAS_PLAIN { plain[slot] = sums.y; }
}
