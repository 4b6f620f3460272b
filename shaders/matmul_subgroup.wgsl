// C = A B of row-major matrices, either of them transposed on request: the loaders of matmul.wgsl in
// vectors of four, for core/product_subgroup.wgsl.
//
//   dense forward         y  = x  W^T + b   A = x (M, K)           B = W (N, K): TRANSPOSE_B
//   dense backward input  gx = gy W         A = gy (M, K)          B = W (K, N)
//   dense backward weight gW = gy^T x       A = gy (K, M): TRANSPOSE_A   B = x (K, N)

// Matrices are bound as vec4: the binding must cover their length rounded up to 4 floats.
@group(0) @binding(0) var<storage, read> matrix_a: array<vec4<A>>;
@group(0) @binding(1) var<storage, read> matrix_b: array<vec4<B>>;
@group(0) @binding(2) var<storage, read> bias: array<f32>;                  // (N)
@group(0) @binding(3) var<storage, read> saved: array<vec4<Saved>>;         // (M, N)
@group(0) @binding(4) var<storage, read_write> output: array<vec4<Output>>; // (parts, M, N)

struct Params {
    m: u32,
    n: u32,
    k: u32,
    parts: u32, // that the sums are split into, each with a slab of C of its own
}
@group(0) @binding(5) var<uniform> params: Params;

override TRANSPOSE_A: bool = false; // A is stored (K, M)
override TRANSPOSE_B: bool = false; // B is stored (N, K)
// The stored rows are a multiple of 4 long.
override A_VEC4: bool = false;
override B_VEC4: bool = false;
override OUTPUT_VEC4: bool = false; // n % 4 == 0
override HAS_BIAS: bool = false;    // along n

// Elements `column` .. + 3 of a stored row of `width` elements; zero beyond its end.
fn load_a4(row: u32, column: u32, width: u32) -> vec4<f32> {
    let i = row * width + column;
    if A_VEC4 { return vec4<f32>(matrix_a[i / 4u]); }
    var v = vec4(f32(matrix_a[i / 4u][i % 4u]), 0.0, 0.0, 0.0);
    if column + 1u < width { v.y = f32(matrix_a[(i + 1u) / 4u][(i + 1u) % 4u]); }
    if column + 2u < width { v.z = f32(matrix_a[(i + 2u) / 4u][(i + 2u) % 4u]); }
    if column + 3u < width { v.w = f32(matrix_a[(i + 3u) / 4u][(i + 3u) % 4u]); }
    return v;
}
fn load_b4(row: u32, column: u32, width: u32) -> vec4<f32> {
    let i = row * width + column;
    if B_VEC4 { return vec4<f32>(matrix_b[i / 4u]); }
    var v = vec4(f32(matrix_b[i / 4u][i % 4u]), 0.0, 0.0, 0.0);
    if column + 1u < width { v.y = f32(matrix_b[(i + 1u) / 4u][(i + 1u) % 4u]); }
    if column + 2u < width { v.z = f32(matrix_b[(i + 2u) / 4u][(i + 2u) % 4u]); }
    if column + 3u < width { v.w = f32(matrix_b[(i + 3u) / 4u][(i + 3u) % 4u]); }
    return v;
}

// A[m .. m + 15, k .. k + 3] spread over the subgroup, two vec4 a lane:
//   stored (M, K): lane l holds rows m + l and m + 8 + l
//   stored (K, M): lane l holds columns m + 4 (l % 4) .. + 3 of rows k + l / 4 and k + 2 + l / 4
fn load_a(m: u32, k: u32, lane: u32) -> TileA {
    var a = TileA();
    if TRANSPOSE_A {
        let column = m + lane % 4u * 4u;
        let row = k + lane / 4u;
        if column < params.m && row < params.k { a.low = load_a4(row, column, params.m); }
        if column < params.m && row + 2u < params.k { a.high = load_a4(row + 2u, column, params.m); }
    } else {
        if m + lane < params.m { a.low = load_a4(m + lane, k, params.k); }
        if m + lane + 8u < params.m { a.high = load_a4(m + lane + 8u, k, params.k); }
    }
    return a;
}

// A[m + 4 q .. + 3, k .. k + 3] out of that tile, in all lanes.
fn quad_a(a: TileA, q: u32) -> Block {
    if TRANSPOSE_A {
        return Block(
            subgroupShuffle(a.low, q),
            subgroupShuffle(a.low, q + 4u),
            subgroupShuffle(a.high, q),
            subgroupShuffle(a.high, q + 4u),
        );
    }
    var half = a.low;
    if q >= 2u { half = a.high; }
    let first = q % 2u * 4u;
    return transposed(Block(
        subgroupShuffle(half, first),
        subgroupShuffle(half, first + 1u),
        subgroupShuffle(half, first + 2u),
        subgroupShuffle(half, first + 3u),
    ));
}

// B[k .. k + 3, n .. n + 3] of this lane.
fn load_b(k: u32, n: u32) -> Block {
    var b = Block();
    if TRANSPOSE_B {
        if n < params.n { b.k0 = load_b4(n, k, params.k); }
        if n + 1u < params.n { b.k1 = load_b4(n + 1u, k, params.k); }
        if n + 2u < params.n { b.k2 = load_b4(n + 2u, k, params.k); }
        if n + 3u < params.n { b.k3 = load_b4(n + 3u, k, params.k); }
        return transposed(b);
    }
    if n < params.n {
        b.k0 = load_b4(k, n, params.n);
        if k + 1u < params.k { b.k1 = load_b4(k + 1u, n, params.n); }
        if k + 2u < params.k { b.k2 = load_b4(k + 2u, n, params.n); }
        if k + 3u < params.k { b.k3 = load_b4(k + 3u, n, params.n); }
    }
    return b;
}

// What the sums of columns n .. n + 3 start from.
fn initial_c(n: u32) -> vec4<f32> {
    var v = vec4<f32>();
    if HAS_BIAS {
        if n < params.n { v.x = bias[n]; }
        if n + 1u < params.n { v.y = bias[n + 1u]; }
        if n + 2u < params.n { v.z = bias[n + 2u]; }
        if n + 3u < params.n { v.w = bias[n + 3u]; }
    }
    return v;
}

fn product_part(part: u32) -> vec2<u32> {
    let length = ((params.k + params.parts - 1u) / params.parts + 3u) / 4u * 4u;
    let begin = min(part * length, params.k);
    return vec2(begin, min(begin + length, params.k));
}

// C[m, n .. n + 3] of a part.
fn store_c(part: u32, m: u32, n: u32, sum: vec4<f32>) {
    if m >= params.m || n >= params.n { return; }
    let i = (part * params.m + m) * params.n + n;
    if OUTPUT_VEC4 {
        store4(i / 4u, sum);
    } else {
        for (var column = 0u; column < 4u; column++) {
            if n + column < params.n { store(i + column, sum[column]); }
        }
    }
}
