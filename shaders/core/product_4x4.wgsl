
// The blocked matrix product C[m, n] = sum over k of A[m, k] * B[k, n], with tiles in workgroup
// memory: for GPUs. A workgroup of SIDE x SIDE invocations computes a tile of C of 4 SIDE x 4 SIDE, in
// steps of SIDE along k; each invocation computes 4 x 4 of it in registers. The tiles of the next step
// are on their way from memory while this one is multiplied.
//
//                n0 ..                       one step:  load a tile of A and one of B, a quad of each
//              +--------+                               per invocation; then SIDE times
//            k | tile_b |                               quad of A (4 rows) x quad of B (4 columns)
//         k    +--------+
//      +-----+ +--------+
//   m0 | ti  | |   C    |   invocation (row, column) of SIDE x SIDE owns the rows
//   .. | le_a| |        |   m0 + row + {0, 1, 2, 3} * SIDE, and columns likewise
//      +-----+ +--------+
//
// A quad is four rows (or columns) SIDE apart, so that neighbouring invocations load and store
// neighbours in memory whatever the alignment; or neighbours, where A_ADJACENT or B_ADJACENT.
// Grid   x, y: tiles, folded; z: slices. core/product.wgsl says what a kernel provides.

// 16: tiles of 64 x 64. 8: tiles of 32 x 32, for small products.
override SIDE: u32 = 16u;

// No larger than it must be: some drivers fill it with zeros first, and its size bounds how many workgroups have room.
override TILE_QUADS: u32 = SIDE * (SIDE + 1u);
override TILE_COLUMNS: u32 = 4u * SIDE;
var<workgroup> tile_a: array<vec4<f32>, TILE_QUADS>; // (k, m / 4)
var<workgroup> tile_b: array<vec4<f32>, TILE_QUADS>; // (k, n / 4)
// An invocation loads one quad of A.
const QUADS_APART: u32 = 0u;

// Sums of 32 products are made by themselves, so that none is long enough to lose digits.
const BLOCK_K: u32 = 32u;

@compute @workgroup_size(SIDE * SIDE)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let slice = group.z;
    let size = product_size(slice);
    let corner = tile_corner(group, size, vec2(4u * SIDE));

    // One quad more than a tile has, so that a column of it lies in different banks.
    let pitch = SIDE + 1u;
    // What this invocation loads: a quad of A at one k, a quad of B at one k.
    let a_k = select(thread / SIDE, thread % SIDE, A_ALONG_K);
    let a_quad = select(thread % SIDE, thread / SIDE, A_ALONG_K);
    let b_k = select(thread / SIDE, thread % SIDE, B_ALONG_K);
    let b_quad = select(thread % SIDE, thread / SIDE, B_ALONG_K);
    let at_a = a_k * pitch + a_quad;
    let at_b = b_k * pitch + b_quad;
    // What it computes.
    let own = own_of(thread);
    let high = own.x;
    let low = own.y;

    var total0 = vec4<f32>();
    var total1 = vec4<f32>();
    var total2 = vec4<f32>();
    var total3 = vec4<f32>();
    let range = agreed_range(size, thread);
    let k_end = range.y;
    let start = Start(
        slice, size, corner, thread, a_quad, b_quad, SIDE, SIDE, size.k_begin + a_k, size.k_begin + b_k);
    let walk = product_walk(start, SIDE);
    var place = product_start(start);
    var next_a = load_quad_a(place, k_end);
    var next_b = load_quad_b(place, k_end);
    for (var block = range.x; block < k_end; block += BLOCK_K) {
        let block_end = min(block + BLOCK_K, k_end);
        var c0 = vec4<f32>();
        var c1 = vec4<f32>();
        var c2 = vec4<f32>();
        var c3 = vec4<f32>();
        for (var k0 = block; k0 < block_end; k0 += SIDE) {
            tile_a[at_a] = next_a;
            tile_b[at_b] = next_b;
            workgroupBarrier();
            place = product_next(place, walk);
            next_a = load_quad_a(place, k_end);
            next_b = load_quad_b(place, k_end);
            for (var k = 0u; k < SIDE; k++) {
                let a = tile_a[k * pitch + high];
                let b = tile_b[k * pitch + low];
                c0 += a.x * b;
                c1 += a.y * b;
                c2 += a.z * b;
                c3 += a.w * b;
            }
            workgroupBarrier();
        }
        total0 += c0;
        total1 += c1;
        total2 += c2;
        total3 += c3;
    }

    let m = corner.x + row_of(high);
    let down = row_distance(SIDE);
    let n = corner.y + column_of(low);
    store_quad(slice, size, m, n, SIDE, total0);
    store_quad(slice, size, m + down, n, SIDE, total1);
    store_quad(slice, size, m + 2u * down, n, SIDE, total2);
    store_quad(slice, size, m + 3u * down, n, SIDE, total3);
    if ROW_SUMS && corner.y == 0u { sum_rows(start, walk, range, at_a, SIDE); }
}
