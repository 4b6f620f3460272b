// Sums of squares over a slab of gradients, a workgroup per 64 * 16 vectors of four. Squares overflow
// where gradients do not yet: each sum is there twice, the second time of scaled gradients.

@group(0) @binding(0) var<storage, read> gradient: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read_write> squares: array<f32>; // (workgroups of all slabs, 2)
@group(0) @binding(2) var<uniform> params: Params;

struct Params {
    len: u32,   // in vectors of four
    first: u32, // where this slab's sums begin
}

const VECTORS: u32 = 16u;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let first = flat_group(group) * 64u * VECTORS + thread;
    var sums = vec2<f32>();
    for (var i = 0u; i < VECTORS; i++) {
        let at = first + i * 64u;
        if at < params.len {
            let g = gradient[at];
            let small = HUGE_SCALE * g;
            sums += vec2(dot(g, g), dot(small, small));
        }
    }
    let total = reduce_sums(thread, sums);
    if thread == 0u && first < params.len {
        let at = 2u * (params.first + flat_group(group));
        squares[at] = total.x;
        squares[at + 1u] = total.y;
    }
}
