
// The blocked matrix product C[m, n] = sum over k of A[m, k] * B[k, n], with tiles in workgroup
// memory: for GPUs. A workgroup computes a tile of 64 x 64 of C in steps of 16 along k; each of its
// 256 invocations computes 4 x 4 of it in registers.
//
//              n0 .. n0+63            one step:  load 64 x 16 of A and 16 x 64 of B, a vec4 each per
//            +-----------+                       invocation; then 16 times
//         k  |  tile_b   |                       vec4 of A (4 rows) x vec4 of B (4 columns)
//       k    +-----------+
//     +----+ +-----------+
//  m0 |tile| |   C       |   invocation (row, column) of 16 x 16 owns
//  .. | _a | |           |   C[m0 + 4 row .. + 3, n0 + 4 column .. + 3]
//     +----+ +-----------+
//
// Calls  product_size(slice) -> Size          M, N and the range of k that this slice sums over
//        product_row(slice, m) -> Row         what is known of a row of A, decoded once
//        product_column(slice, n) -> Column   what is known of a column of B, decoded once
//        load_a(row, k) -> f32                for m < M and k within the range
//        load_b(column, k) -> f32             for n < N and k within the range
//        store_c(slice, m, n, value)          for m < M and n < N
// A slice is a channel group or a part of a split sum.
// Grid   x, y: tiles, folded; z: slices

// Whether neighbours along k (rather than along m or n) are neighbours in memory.
override A_ALONG_K: bool = true;
override B_ALONG_K: bool = false;

struct Size {
    m: u32,
    n: u32,
    k_begin: u32,
    k_end: u32,
}

const TILE: u32 = 64u;
const STEP: u32 = 16u;
// One vec4 more than the tile has, so that a column of it lies in different banks.
const PITCH: u32 = 17u;

var<workgroup> tile_a: array<vec4<f32>, 272>; // (k, m / 4)
var<workgroup> tile_b: array<vec4<f32>, 272>; // (k, n / 4)

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let slice = group.z;
    let size = product_size(slice);
    let tiles_m = (size.m + TILE - 1u) / TILE;
    let tile = flat_group(group);
    let m0 = tile % tiles_m * TILE;
    let n0 = tile / tiles_m * TILE;

    // What this invocation loads: four rows of A at one k, four columns of B at one k.
    let low = thread % 16u;
    let high = thread / 16u;
    let a_k = select(high, low, A_ALONG_K);
    let a_m = m0 + 4u * select(low, high, A_ALONG_K);
    let b_k = select(high, low, B_ALONG_K);
    let b_n = n0 + 4u * select(low, high, B_ALONG_K);
    // Rows and columns beyond the edge load the last one instead; what they give is not stored.
    let m_last = size.m - 1u;
    let n_last = size.n - 1u;
    let row0 = product_row(slice, min(a_m, m_last));
    let row1 = product_row(slice, min(a_m + 1u, m_last));
    let row2 = product_row(slice, min(a_m + 2u, m_last));
    let row3 = product_row(slice, min(a_m + 3u, m_last));
    let column0 = product_column(slice, min(b_n, n_last));
    let column1 = product_column(slice, min(b_n + 1u, n_last));
    let column2 = product_column(slice, min(b_n + 2u, n_last));
    let column3 = product_column(slice, min(b_n + 3u, n_last));
    let a_at = a_k * PITCH + select(low, high, A_ALONG_K);
    let b_at = b_k * PITCH + select(low, high, B_ALONG_K);

    var c0 = vec4<f32>();
    var c1 = vec4<f32>();
    var c2 = vec4<f32>();
    var c3 = vec4<f32>();
    let k_end = loop_bound(size.k_end, group);
    for (var k0 = size.k_begin; k0 < k_end; k0 += STEP) {
        var a = vec4<f32>();
        var b = vec4<f32>();
        if k0 + a_k < size.k_end {
            let k = k0 + a_k;
            a = vec4(load_a(row0, k), load_a(row1, k), load_a(row2, k), load_a(row3, k));
        }
        if k0 + b_k < size.k_end {
            let k = k0 + b_k;
            b = vec4(load_b(column0, k), load_b(column1, k), load_b(column2, k), load_b(column3, k));
        }
        tile_a[a_at] = a;
        tile_b[b_at] = b;
        workgroupBarrier();
        for (var k = 0u; k < STEP; k++) {
            let rows = tile_a[k * PITCH + high];
            let columns = tile_b[k * PITCH + low];
            c0 += rows.x * columns;
            c1 += rows.y * columns;
            c2 += rows.z * columns;
            c3 += rows.w * columns;
        }
        workgroupBarrier();
    }

    let m = m0 + 4u * high;
    let n = n0 + 4u * low;
    store_row(slice, size, m, n, c0);
    store_row(slice, size, m + 1u, n, c1);
    store_row(slice, size, m + 2u, n, c2);
    store_row(slice, size, m + 3u, n, c3);
}

fn store_row(slice: u32, size: Size, m: u32, n: u32, c: vec4<f32>) {
    if m < size.m {
        if n < size.n { store_c(slice, m, n, c.x); }
        if n + 1u < size.n { store_c(slice, m, n + 1u, c.y); }
        if n + 2u < size.n { store_c(slice, m, n + 2u, c.z); }
        if n + 3u < size.n { store_c(slice, m, n + 3u, c.w); }
    }
}
