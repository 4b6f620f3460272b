
// Blocked matrix product without workgroup memory, for subgroups of exactly 8 lanes.
//
// A subgroup computes 16 rows x 32 columns of C; lane l owns 4 neighbouring columns, so it holds
// 16 vec4 accumulators. Four k at a time, the subgroup loads a 16 x 4 tile of A (two vec4 a lane,
// which the lanes then share: every lane needs all of it) and each lane its own 4 x 4 tile of B.
// Memory is what costs on lavapipe: 6 vec4 loads a lane serve 256 multiply-adds.
//
// Calls  load_a(m, k, lane) -> TileA      zero outside A
//        quad_a(tile, q) -> Block         rows m + 4 q .. + 3
//        load_b(k, n) -> mat4x4           columns n .. n + 3, one matrix column per k; zero outside B
//        initial_c(n) -> vec4             what the sums start from: zero or a bias
//        product_part(part) -> vec2       where this part of the sums begins, a multiple of 4, and ends
//        store_c(part, m, n, vec4)
// Grid   x, y: tiles of 16 rows x 32 columns, folded; z: parts

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

fn store_quad(part: u32, m: u32, n: u32, q: Quad) {
    store_c(part, m, n, q.c0);
    store_c(part, m + 1u, n, q.c1);
    store_c(part, m + 2u, n, q.c2);
    store_c(part, m + 3u, n, q.c3);
}

// Sums of so many products are made by themselves, so that none is long enough to lose digits.
const BLOCK_K: u32 = 128u;

@compute @workgroup_size(8)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(subgroup_invocation_id) lane: u32) {
    let tile = flat_group(group);
    let tiles_m = (params.m + 15u) / 16u;
    let m = tile % tiles_m * 16u;
    let n = tile / tiles_m * 32u + lane * 4u;
    let start = initial_c(n);
    var total0 = Quad(start, start, start, start);
    var total1 = total0;
    var total2 = total0;
    var total3 = total0;
    let range = product_part(group.z);
    let k_end = loop_bound(range.y, group);
    for (var block = range.x; block < k_end; block += BLOCK_K) {
        let block_end = min(block + BLOCK_K, k_end);
        var q0 = Quad();
        var q1 = Quad();
        var q2 = Quad();
        var q3 = Quad();
        for (var k = block; k < block_end; k += 4u) {
            let a = load_a(m, k, lane);
            let b = load_b(k, n);
            q0 = multiply_add(q0, quad_a(a, 0u), b);
            q1 = multiply_add(q1, quad_a(a, 1u), b);
            q2 = multiply_add(q2, quad_a(a, 2u), b);
            q3 = multiply_add(q3, quad_a(a, 3u), b);
        }
        total0 = quad_sum(total0, q0);
        total1 = quad_sum(total1, q1);
        total2 = quad_sum(total2, q2);
        total3 = quad_sum(total3, q3);
    }
    store_quad(group.z, m, n, total0);
    store_quad(group.z, m + 4u, n, total1);
    store_quad(group.z, m + 8u, n, total2);
    store_quad(group.z, m + 12u, n, total3);
}
