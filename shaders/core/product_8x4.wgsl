
// The blocked matrix product of core/product_4x4.wgsl with larger tiles, for products that are large
// enough to fill a GPU with them: a workgroup of 16 x 16 invocations computes 128 x 64 of C in steps
// of 16 along k; each invocation computes 8 x 4 of it in registers, so that an element of B in workgroup
// memory serves 8 multiplications instead of 4. 8 x 8 would read less for each multiplication, and need so
// many registers that a GPU has too few subgroups at work to wait for memory.
//
//                n0 .. n0+63
//              +--------+     invocation (row, column) of 16 x 16 owns two quads of rows, those of number
//           16 | tile_b |     row and row + 16, and the columns n0 + column + {0, 16, 32, 48}
//        16    +--------+
//      +-----+ +--------+
//   m0 | ti  | |        |     c<row of a quad><quad>
//   .. | le_a| |   C    |
// m0 + |     | |        |
//  127 +-----+ +--------+
//
// Where A_ADJACENT or B_ADJACENT a quad is four neighbours.
// Grid   x, y: tiles, folded; z: slices. core/product.wgsl says what a kernel provides.

const STEP: u32 = 16u;
const SIDE: u32 = 16u; // of the invocations, and quads in a row of tile_b; those of tile_a are twice as many
// One quad more than there are, so that a column of a tile lies in different banks.
const PITCH_A: u32 = 33u;
const PITCH_B: u32 = 17u;

const TILE_COLUMNS: u32 = 64u;
var<workgroup> tile_a: array<vec4<f32>, STEP * PITCH_A>; // (k, m / 4)
var<workgroup> tile_b: array<vec4<f32>, STEP * PITCH_B>; // (k, n / 4)
// Each invocation loads two quads of A, so many apart.
const QUADS_APART: u32 = 16u;

// Along k, so many turns of a step are a loop of their own: drivers unroll it, and leave one of 16 as it is. 1 where
// registers are too few for that.
override INNER: u32 = 8u;

// Sums of 64 products are made by themselves, so that none is long enough to lose digits.
const BLOCK_K: u32 = 64u;

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let slice = group.z;
    let size = product_size(slice);
    let corner = tile_corner(group, size, vec2(128u, 64u));

    // What this invocation loads: two quads of A at one k, a quad of B at one k.
    let a_k = select(thread / SIDE, thread % STEP, A_ALONG_K);
    let a_quad = select(thread % SIDE, thread / STEP, A_ALONG_K);
    let b_k = select(thread / SIDE, thread % STEP, B_ALONG_K);
    let b_quad = select(thread % SIDE, thread / STEP, B_ALONG_K);

    let at_a = a_k * PITCH_A + a_quad;
    let at_b = b_k * PITCH_B + b_quad;

    // What it computes.
    let own = own_of(thread);
    let high = own.x;
    let low = own.y;
    var total00 = vec4<f32>();
    var total01 = vec4<f32>();
    var total10 = vec4<f32>();
    var total11 = vec4<f32>();
    var total20 = vec4<f32>();
    var total21 = vec4<f32>();
    var total30 = vec4<f32>();
    var total31 = vec4<f32>();

    let range = agreed_range(size, thread);
    let k_end = range.y;
    let start = Start(
        slice, size, corner, thread, a_quad, b_quad, 2u * SIDE, SIDE, size.k_begin + a_k, size.k_begin + b_k);
    let walk = product_walk(start, STEP);
    var place = product_start(start);
    var next_a0 = load_quad_a(place, k_end);
    var next_a1 = load_other_a(place, k_end);
    var next_b = load_quad_b(place, k_end);
    for (var block = range.x; block < k_end; block += BLOCK_K) {
        let block_end = min(block + BLOCK_K, k_end);
        var c00 = vec4<f32>();
        var c01 = vec4<f32>();
        var c10 = vec4<f32>();
        var c11 = vec4<f32>();
        var c20 = vec4<f32>();
        var c21 = vec4<f32>();
        var c30 = vec4<f32>();
        var c31 = vec4<f32>();
        for (var k0 = block; k0 < block_end; k0 += STEP) {
            tile_a[at_a] = next_a0;
            tile_a[at_a + QUADS_APART] = next_a1;
            tile_b[at_b] = next_b;
            workgroupBarrier();
            place = product_next(place, walk);
            next_a0 = load_quad_a(place, k_end);
            next_a1 = load_other_a(place, k_end);
            next_b = load_quad_b(place, k_end);
            for (var first = 0u; first < STEP; first += INNER) {
                for (var i = 0u; i < INNER; i++) {
                    let k = first + i;
                    let a0 = tile_a[k * PITCH_A + high];
                    let a1 = tile_a[k * PITCH_A + high + QUADS_APART];
                    let b = tile_b[k * PITCH_B + low];
                    c00 += a0.x * b;
                    c10 += a0.y * b;
                    c20 += a0.z * b;
                    c30 += a0.w * b;
                    c01 += a1.x * b;
                    c11 += a1.y * b;
                    c21 += a1.z * b;
                    c31 += a1.w * b;
                }
            }
            workgroupBarrier();
        }
        total00 += c00;
        total01 += c01;
        total10 += c10;
        total11 += c11;
        total20 += c20;
        total21 += c21;
        total30 += c30;
        total31 += c31;
    }

    let m0 = corner.x + row_of(high);
    let m1 = corner.x + row_of(high + QUADS_APART);
    let down = row_distance(2u * SIDE);
    let n = corner.y + column_of(low);
    store_quad(slice, size, m0, n, SIDE, total00);
    store_quad(slice, size, m0 + down, n, SIDE, total10);
    store_quad(slice, size, m0 + 2u * down, n, SIDE, total20);
    store_quad(slice, size, m0 + 3u * down, n, SIDE, total30);
    store_quad(slice, size, m1, n, SIDE, total01);
    store_quad(slice, size, m1 + down, n, SIDE, total11);
    store_quad(slice, size, m1 + 2u * down, n, SIDE, total21);
    store_quad(slice, size, m1 + 3u * down, n, SIDE, total31);
    if ROW_SUMS && corner.y == 0u { sum_rows(start, walk, range, at_a, STEP); }
}
