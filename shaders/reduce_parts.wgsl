// Adds the parts of a split sum in order, with an optional bias along the columns and an activation,
// or an activation's gradient, on the way out. Many parts are added in several turns: first those of
// each group of neighbours, to a slab of its own. Slabs may hold a second result behind the first. An invocation
// per element and group.

@group(0) @binding(0) var<storage, read> partial: array<f32>;         // (parts, outer, columns, inner)
@group(0) @binding(1) var<storage, read> bias: array<f32>;            // (columns)
@group(0) @binding(2) var<storage, read> saved: array<Saved>;         // as the output
@group(0) @binding(3) var<storage, read_write> output: array<Output>; // (groups, outer, columns, inner)
@group(0) @binding(4) var<storage, read_write> rest: array<f32>;      // what lies behind the first `rest_begin` elements
@group(0) @binding(5) var<uniform> params: Params;

struct Params {
    len: u32, // outer * columns * inner
    columns: u32,
    inner: u32,
    parts: u32,
    groups: u32,
    rest_begin: u32,
}

override HAS_BIAS: bool = false;
override HAS_REST: bool = false; // of a single group

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let at = flat_index(group, 64u, thread);
    if at / params.len >= params.groups { return; }
    let range = part_of(params.parts, params.groups, at / params.len);
    var sum = 0.0;
    // In blocks, so that no sum is long enough to lose digits.
    for (var block = range.x; block < range.y; block += 16u) {
        let block_end = min(block + 16u, range.y);
        var block_sum = 0.0;
        for (var part = block; part < block_end; part++) {
            block_sum += partial[part * params.len + at % params.len];
        }
        sum += block_sum;
    }
    if HAS_REST && at >= params.rest_begin {
        rest[at - params.rest_begin] = sum;
        return;
    }
    if HAS_BIAS { sum += bias[at / params.inner % params.columns]; }
    store(at, sum);
}
