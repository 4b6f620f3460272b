
// The blocked matrix product of core/product_4x4.wgsl with larger tiles, for products that are large
// enough to fill a GPU with them: a workgroup of 16 x 16 invocations computes 128 x 128 of C in steps
// of 8 along k; each invocation computes 8 x 8 of it in registers, so that an element in workgroup
// memory serves 8 multiplications instead of 4.
//
//                n0 .. n0+127
//              +-------------+     invocation (row, column) of 16 x 16 owns two quads of rows,
//            8 |   tile_b    |     m0 + row + {0, 32, 64, 96} and those 16 below them,
//         8    +-------------+     and columns likewise
//      +-----+ +-------------+
//   m0 | ti  | |             |     c<rows of a quad><quad of rows><quad of columns>
//   .. | le_a| |     C       |
// m0 + |     | |             |
//  127 +-----+ +-------------+
//
// Grid   x, y: tiles, folded; z: slices. core/product.wgsl says what a kernel provides.

const TILE: u32 = 128u;
const STEP: u32 = 8u;
const QUADS: u32 = 32u; // in a row of a tile, and the distance between the members of a quad
const PITCH: u32 = 33u; // one quad more, so that a column of a tile lies in different banks

const TILE_QUADS: u32 = 264u; // STEP * PITCH
const TILE_COLUMNS: u32 = 128u;

// Sums of 64 products are made by themselves, so that none is long enough to lose digits.
const BLOCK_K: u32 = 64u;

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let slice = group.z;
    let size = product_size(slice);
    let corner = tile_corner(group, size, TILE);

    // What this invocation loads: a quad of A at one k, a quad of B at one k.
    let a_k = select(thread / QUADS, thread % STEP, A_ALONG_K);
    let a_quad = select(thread % QUADS, thread / STEP, A_ALONG_K);
    let b_k = select(thread / QUADS, thread % STEP, B_ALONG_K);
    let b_quad = select(thread % QUADS, thread / STEP, B_ALONG_K);

    // What it computes.
    let own = own_of(thread);
    let high = own.x;
    let low = own.y;
    var total000 = vec4<f32>();
    var total001 = vec4<f32>();
    var total010 = vec4<f32>();
    var total011 = vec4<f32>();
    var total100 = vec4<f32>();
    var total101 = vec4<f32>();
    var total110 = vec4<f32>();
    var total111 = vec4<f32>();
    var total200 = vec4<f32>();
    var total201 = vec4<f32>();
    var total210 = vec4<f32>();
    var total211 = vec4<f32>();
    var total300 = vec4<f32>();
    var total301 = vec4<f32>();
    var total310 = vec4<f32>();
    var total311 = vec4<f32>();

    let k_end = loop_bound(size.k_end, group);
    let start = Start(
        slice, size, corner, thread, a_quad, b_quad, QUADS, size.k_begin + a_k, size.k_begin + b_k);
    let walk = product_walk(start, STEP);
    var place = product_start(start);
    var next_a = load_quad_a(place, k_end);
    var next_b = load_quad_b(place, k_end);
    for (var block = size.k_begin; block < k_end; block += BLOCK_K) {
        let block_end = min(block + BLOCK_K, k_end);
        var c000 = vec4<f32>();
        var c001 = vec4<f32>();
        var c010 = vec4<f32>();
        var c011 = vec4<f32>();
        var c100 = vec4<f32>();
        var c101 = vec4<f32>();
        var c110 = vec4<f32>();
        var c111 = vec4<f32>();
        var c200 = vec4<f32>();
        var c201 = vec4<f32>();
        var c210 = vec4<f32>();
        var c211 = vec4<f32>();
        var c300 = vec4<f32>();
        var c301 = vec4<f32>();
        var c310 = vec4<f32>();
        var c311 = vec4<f32>();
        for (var k0 = block; k0 < block_end; k0 += STEP) {
            tile_a[a_k * PITCH + a_quad] = next_a;
            tile_b[b_k * PITCH + b_quad] = next_b;
            workgroupBarrier();
            place = product_next(place, walk);
            next_a = load_quad_a(place, k_end);
            next_b = load_quad_b(place, k_end);
            for (var k = 0u; k < STEP; k++) {
                let a0 = tile_a[k * PITCH + high];
                let a1 = tile_a[k * PITCH + high + 16u];
                let b0 = tile_b[k * PITCH + low];
                let b1 = tile_b[k * PITCH + low + 16u];
                c000 += a0.x * b0;
                c001 += a0.x * b1;
                c100 += a0.y * b0;
                c101 += a0.y * b1;
                c200 += a0.z * b0;
                c201 += a0.z * b1;
                c300 += a0.w * b0;
                c301 += a0.w * b1;
                c010 += a1.x * b0;
                c011 += a1.x * b1;
                c110 += a1.y * b0;
                c111 += a1.y * b1;
                c210 += a1.z * b0;
                c211 += a1.z * b1;
                c310 += a1.w * b0;
                c311 += a1.w * b1;
            }
            workgroupBarrier();
        }
        total000 += c000;
        total001 += c001;
        total010 += c010;
        total011 += c011;
        total100 += c100;
        total101 += c101;
        total110 += c110;
        total111 += c111;
        total200 += c200;
        total201 += c201;
        total210 += c210;
        total211 += c211;
        total300 += c300;
        total301 += c301;
        total310 += c310;
        total311 += c311;
    }

    let m = corner.x + row_of(high);
    let m1 = corner.x + row_of(high + 16u);
    let down = row_distance(QUADS);
    let n = corner.y + low;
    store_pair(slice, size, m, n, total000, total001);
    store_pair(slice, size, m + down, n, total100, total101);
    store_pair(slice, size, m + 2u * down, n, total200, total201);
    store_pair(slice, size, m + 3u * down, n, total300, total301);
    store_pair(slice, size, m1, n, total010, total011);
    store_pair(slice, size, m1 + down, n, total110, total111);
    store_pair(slice, size, m1 + 2u * down, n, total210, total211);
    store_pair(slice, size, m1 + 3u * down, n, total310, total311);
}

// The two quads of columns of a row.
fn store_pair(slice: u32, size: Size, m: u32, n: u32, c0: vec4<f32>, c1: vec4<f32>) {
    store_quad(slice, size, m, n, QUADS, c0);
    store_quad(slice, size, m, n + 16u, QUADS, c1);
}
