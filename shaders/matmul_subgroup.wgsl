// C = A B of row-major matrices, either of them transposed on request: the loaders of matmul.wgsl in
// vectors of four, for core/product_subgroup.wgsl.
//
//   dense forward         y  = x  W^T + b   A = x (M, K)           B = W (N, K): TRANSPOSE_B
//   dense backward input  gx = gy W         A = gy (M, K)          B = W (K, N)
//   dense backward weight gW = gy^T x       A = gy (K, M): TRANSPOSE_A   B = x (K, N)
//                         gb = rows of A    ROW_SUMS

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
@group(0) @binding(5) var<storage, read_write> row_sums: array<f32>;        // (M)
@group(0) @binding(6) var<uniform> params: Params;

override TRANSPOSE_A: bool = false; // A is stored (K, M)
override TRANSPOSE_B: bool = false; // B is stored (N, K)
// The stored rows are a multiple of 4 long.
override A_VEC4: bool = false;
override B_VEC4: bool = false;
override OUTPUT_VEC4: bool = false; // n % 4 == 0
override HAS_BIAS: bool = false;    // along n
override ROW_SUMS: bool = false;    // of a transposed A

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

// The rows of that tile, four by four, in all lanes.
fn shared_a(a: TileA) -> Blocks {
    let low = shared_lanes(a.low);
    let high = shared_lanes(a.high);
    if TRANSPOSE_A {
        return Blocks(
            Block(low.v0, low.v4, high.v0, high.v4),
            Block(low.v1, low.v5, high.v1, high.v5),
            Block(low.v2, low.v6, high.v2, high.v6),
            Block(low.v3, low.v7, high.v3, high.v7),
        );
    }
    return Blocks(
        transposed(Block(low.v0, low.v1, low.v2, low.v3)),
        transposed(Block(low.v4, low.v5, low.v6, low.v7)),
        transposed(Block(high.v0, high.v1, high.v2, high.v3)),
        transposed(Block(high.v4, high.v5, high.v6, high.v7)),
    );
}

// What this lane holds of rows m + 4 (l % 4) .. + 3 of a transposed A, summed.
fn sum_a(a: TileA) -> vec4<f32> {
    return a.low + a.high;
}

// The sums of 16 rows, of which lanes four apart have a half each.
fn store_row_sums(m: u32, lane: u32, sum: vec4<f32>) {
    let total = sum + subgroupShuffle(sum, (lane + 4u) % 8u);
    let row = m + lane % 4u * 4u;
    for (var i = 0u; i < 4u; i++) {
        if lane < 4u && row + i < params.m { row_sums[row + i] = total[i]; }
    }
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
