
// The blocked matrix product of core/product_4x4.wgsl for GPUs whose invocations have few registers where many are at
// work, such as Intel's with subgroups of 16: a workgroup of 16 x 8 invocations computes 32 x 32 of C in steps of 16
// along k; each invocation computes 2 x 4 of it. What else would take registers lies in workgroup memory: the sums of
// the blocks before this one, and what is known of rows and columns (core/element_quads_kept.wgsl). Nothing is on its way
// from memory while a step is multiplied: other workgroups are at work then.
//
//                n0 .. n0+31
//              +--------+     invocation (row, column) of 16 x 8 owns half of a quad of rows, and a quad of
//           16 | tile_b |     columns, n0 + column + {0, 8, 16, 24}
//        16    +--------+
//      +-----+ +--------+     the quads of rows in tile_a:  0  8 | 16 24     1  9 | 17 25     ...
//   m0 | ti  | |   C    |     two invocations' halves           row 0 | 1         row 2 | 3
// m0+31| le_a| |        |
//      +-----+ +--------+
//
// Where A_ADJACENT or B_ADJACENT a quad is four neighbours.
// Grid   x, y: tiles, folded; z: slices. core/product.wgsl says what a kernel provides.

const STEP: u32 = 16u;
const SIDE: u32 = 8u; // quads in a row of a tile
const INVOCATIONS: u32 = 128u;
// A pair of rows and a quad of columns more than there are, so that a column of a tile lies in different banks.
const PITCH_A: u32 = 17u;
const PITCH_B: u32 = 9u;

const TILE_COLUMNS: u32 = 32u;
var<workgroup> tile_a: array<vec2<f32>, STEP * PITCH_A>; // (k, m / 2)
var<workgroup> tile_b: array<vec4<f32>, STEP * PITCH_B>; // (k, n / 4)
var<workgroup> totals: array<vec4<f32>, 2u * INVOCATIONS>;
// An invocation loads one quad of A.
const QUADS_APART: u32 = 0u;

// Sums of 32 products are made by themselves, so that none is long enough to lose digits.
const BLOCK_K: u32 = 32u;

// Where core/product.wgsl keeps the sums of quads of A's rows, once the totals are stored.
fn keep_rows(at: u32, rows: vec4<f32>) {
    totals[at] = rows;
}

fn kept_rows(at: u32) -> vec4<f32> {
    return totals[at];
}

@compute @workgroup_size(INVOCATIONS)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let slice = group.z;
    let size = product_size(slice);
    let corner = tile_corner(group, size, vec2(4u * SIDE));

    // What this invocation loads: a quad of A at one k, a quad of B at one k.
    let a_k = select(thread / SIDE, thread % STEP, A_ALONG_K);
    let a_quad = select(thread % SIDE, thread / STEP, A_ALONG_K);
    let b_k = select(thread / SIDE, thread % STEP, B_ALONG_K);
    let b_quad = select(thread % SIDE, thread / STEP, B_ALONG_K);
    let at_a = a_k * PITCH_A + 2u * a_quad;
    let at_b = b_k * PITCH_B + b_quad;
    // What it computes.
    let own = own_of(thread);
    let high = own.x;
    let low = own.y;

    totals[thread] = vec4<f32>();
    totals[thread + INVOCATIONS] = vec4<f32>();
    let range = agreed_range(size, thread);
    let k_end = range.y;
    let start = Start(
        slice, size, corner, thread, a_quad, b_quad, SIDE, SIDE, size.k_begin + a_k, size.k_begin + b_k);
    let walk = product_walk(start, STEP);
    var place = product_start(start);
    for (var block = range.x; block < k_end; block += BLOCK_K) {
        let block_end = min(block + BLOCK_K, k_end);
        var c0 = vec4<f32>();
        var c1 = vec4<f32>();
        for (var k0 = block; k0 < block_end; k0 += STEP) {
            let next_a = load_quad_a(place, k_end);
            tile_a[at_a] = next_a.xy;
            tile_a[at_a + 1u] = next_a.zw;
            tile_b[at_b] = load_quad_b(place, k_end);
            place = product_next(place, walk);
            workgroupBarrier();
            for (var k = 0u; k < STEP; k++) {
                let a = tile_a[k * PITCH_A + high];
                let b = tile_b[k * PITCH_B + low];
                c0 += a.x * b;
                c1 += a.y * b;
            }
            workgroupBarrier();
        }
        totals[thread] += c0;
        totals[thread + INVOCATIONS] += c1;
    }

    // The first of its half of a quad of rows.
    let m = corner.x + row_of(high / 2u) + high % 2u * 2u * row_distance(SIDE);
    let n = corner.y + column_of(low);
    store_quad(slice, size, m, n, SIDE, totals[thread]);
    store_quad(slice, size, m + row_distance(SIDE), n, SIDE, totals[thread + INVOCATIONS]);
    if ROW_SUMS && corner.y == 0u {
        workgroupBarrier(); // others may not have stored their totals
        sum_rows(start, walk, range, a_k * (SIDE + 1u) + a_quad, STEP);
    }
}
