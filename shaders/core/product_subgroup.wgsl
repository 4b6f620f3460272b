
// Blocked matrix product without workgroup memory, for subgroups of exactly 8 lanes.
//
// A subgroup computes 16 or 64 rows x 32 columns of C; lane l owns 4 neighbouring columns, so it holds
// as many vec4 accumulators. Four k at a time, the subgroup loads tiles of 16 x 4 of A (two vec4 a lane,
// which the lanes then share: every lane needs all of them) and each lane its own 4 x 4 tile of B.
// Loads are what costs on lavapipe, which makes them lane by lane: 6 of a vec4 serve 256 multiply-adds of
// 16 rows, 12 of them 1024 of 64.
//
// Results are stored in loops, which `loop_bound` keeps compilers from unrolling: llvmpipe makes a loop over the lanes of
// each component that is loaded or stored, and such code is most of what a pipeline takes to compile.
//
// Calls  load_a(m, k, lane) -> TileA      zero outside A
//        shared_a(tile) -> Blocks         its rows, four by four
//        ROW_SUMS: bool                   whether the rows of A are summed as well
//        sum_a(tile) -> vec4              what this lane has of their sums
//        store_row_sums(m, lane, vec4)    16 rows of which it has this
//        load_b(k, n) -> mat4x4           columns n .. n + 3, one matrix column per k; zero outside B
//        initial_c(n) -> vec4             what the sums start from: zero or a bias
//        product_part(part) -> vec2       where this part of the sums begins, a multiple of 4, and ends
//        store_c(part, m, n, vec4)
// Grid   x, y: tiles of 16 or 64 rows x 32 columns, folded; z: parts

override TALL: bool = false; // 64 rows

// What one lane holds of 16 x 4 elements of A.
struct TileA { low: vec4<f32>, high: vec4<f32> }
// Four rows of C.
struct Quad { c0: vec4<f32>, c1: vec4<f32>, c2: vec4<f32>, c3: vec4<f32> }

// A 4 x 4 block, a vec4 of four rows or columns for each of four k.
// (Not a mat4x4: llvmpipe in Mesa 22.3 never frees what it takes for matrices.)
struct Block { k0: vec4<f32>, k1: vec4<f32>, k2: vec4<f32>, k3: vec4<f32> }

fn transposed(b: Block) -> Block {
    return Block(
        vec4(b.k0.x, b.k1.x, b.k2.x, b.k3.x),
        vec4(b.k0.y, b.k1.y, b.k2.y, b.k3.y),
        vec4(b.k0.z, b.k1.z, b.k2.z, b.k3.z),
        vec4(b.k0.w, b.k1.w, b.k2.w, b.k3.w),
    );
}

// What each of eight lanes holds.
struct Lanes {
    v0: vec4<f32>, v1: vec4<f32>, v2: vec4<f32>, v3: vec4<f32>,
    v4: vec4<f32>, v5: vec4<f32>, v6: vec4<f32>, v7: vec4<f32>,
}

fn shared_lanes(v: vec4<f32>) -> Lanes {
    return Lanes(
        subgroupBroadcast(v, 0u), subgroupBroadcast(v, 1u), subgroupBroadcast(v, 2u), subgroupBroadcast(v, 3u),
        subgroupBroadcast(v, 4u), subgroupBroadcast(v, 5u), subgroupBroadcast(v, 6u), subgroupBroadcast(v, 7u),
    );
}

fn multiply_add(q: Quad, a: Block, b: Block) -> Quad {
    return Quad(
        q.c0 + (a.k0.x * b.k0 + a.k1.x * b.k1 + a.k2.x * b.k2 + a.k3.x * b.k3),
        q.c1 + (a.k0.y * b.k0 + a.k1.y * b.k1 + a.k2.y * b.k2 + a.k3.y * b.k3),
        q.c2 + (a.k0.z * b.k0 + a.k1.z * b.k1 + a.k2.z * b.k2 + a.k3.z * b.k3),
        q.c3 + (a.k0.w * b.k0 + a.k1.w * b.k1 + a.k2.w * b.k2 + a.k3.w * b.k3),
    );
}

fn quad_sum(a: Quad, b: Quad) -> Quad {
    return Quad(a.c0 + b.c0, a.c1 + b.c1, a.c2 + b.c2, a.c3 + b.c3);
}

// 16 rows of C.
struct Strip { q0: Quad, q1: Quad, q2: Quad, q3: Quad }

struct Blocks { q0: Block, q1: Block, q2: Block, q3: Block }

fn multiply_add_tile(s: Strip, tile: TileA, b: Block) -> Strip {
    let a = shared_a(tile);
    return Strip(
        multiply_add(s.q0, a.q0, b),
        multiply_add(s.q1, a.q1, b),
        multiply_add(s.q2, a.q2, b),
        multiply_add(s.q3, a.q3, b),
    );
}

fn strip_sum(a: Strip, b: Strip) -> Strip {
    return Strip(quad_sum(a.q0, b.q0), quad_sum(a.q1, b.q1), quad_sum(a.q2, b.q2), quad_sum(a.q3, b.q3));
}

fn store_quad(part: u32, m: u32, n: u32, q: Quad) {
    store_c(part, m, n, q.c0);
    store_c(part, m + 1u, n, q.c1);
    store_c(part, m + 2u, n, q.c2);
    store_c(part, m + 3u, n, q.c3);
}

fn store_strip(part: u32, m: u32, n: u32, s: Strip, group: vec3<u32>) {
    for (var i = 0u; i < loop_bound(4u, group); i++) {
        var q = s.q0;
        if i == 1u { q = s.q1; }
        if i == 2u { q = s.q2; }
        if i == 3u { q = s.q3; }
        store_quad(part, m + 4u * i, n, q);
    }
}

// What a lane has of the sums of up to 64 rows of A.
struct RowSums { s0: vec4<f32>, s1: vec4<f32>, s2: vec4<f32>, s3: vec4<f32> }

fn row_sums_sum(a: RowSums, b: RowSums) -> RowSums {
    return RowSums(a.s0 + b.s0, a.s1 + b.s1, a.s2 + b.s2, a.s3 + b.s3);
}

// Sums of so many products are made by themselves, so that none is long enough to lose digits.
const BLOCK_K: u32 = 128u;

@compute @workgroup_size(8)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(subgroup_invocation_id) lane: u32) {
    let tile = flat_group(group);
    let rows = select(16u, 64u, TALL);
    let tiles_m = (params.m + rows - 1u) / rows;
    let m = tile % tiles_m * rows;
    let n = tile / tiles_m * 32u + lane * 4u;
    let start = initial_c(n);
    let quad = Quad(start, start, start, start);
    var total0 = Strip(quad, quad, quad, quad);
    var total1 = total0;
    var total2 = total0;
    var total3 = total0;
    var a_sums = RowSums();
    let range = product_part(group.z);
    let k_end = loop_bound(range.y, group);
    for (var block = range.x; block < k_end; block += BLOCK_K) {
        let block_end = min(block + BLOCK_K, k_end);
        var s0 = Strip();
        var s1 = Strip();
        var s2 = Strip();
        var s3 = Strip();
        var block_a = RowSums();
        for (var k = block; k < block_end; k += 4u) {
            let b = load_b(k, n);
            let a0 = load_a(m, k, lane);
            s0 = multiply_add_tile(s0, a0, b);
            if ROW_SUMS { block_a.s0 += sum_a(a0); }
            if TALL {
                let a1 = load_a(m + 16u, k, lane);
                let a2 = load_a(m + 32u, k, lane);
                let a3 = load_a(m + 48u, k, lane);
                s1 = multiply_add_tile(s1, a1, b);
                s2 = multiply_add_tile(s2, a2, b);
                s3 = multiply_add_tile(s3, a3, b);
                if ROW_SUMS {
                    block_a.s1 += sum_a(a1);
                    block_a.s2 += sum_a(a2);
                    block_a.s3 += sum_a(a3);
                }
            }
        }
        total0 = strip_sum(total0, s0);
        total1 = strip_sum(total1, s1);
        total2 = strip_sum(total2, s2);
        total3 = strip_sum(total3, s3);
        if ROW_SUMS { a_sums = row_sums_sum(a_sums, block_a); }
    }
    for (var i = 0u; i < loop_bound(rows / 16u, group); i++) {
        var s = total0;
        if TALL {
            if i == 1u { s = total1; }
            if i == 2u { s = total2; }
            if i == 3u { s = total3; }
        }
        store_strip(group.z, m + 16u * i, n, s, group);
    }
    if ROW_SUMS && tile < tiles_m {
        store_row_sums(m, lane, a_sums.s0);
        if TALL {
            store_row_sums(m + 16u, lane, a_sums.s1);
            store_row_sums(m + 32u, lane, a_sums.s2);
            store_row_sums(m + 48u, lane, a_sums.s3);
        }
    }
}
