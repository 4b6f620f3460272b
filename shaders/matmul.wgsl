// C = A B of row-major matrices, either of them transposed on request, with an optional bias along
// the columns and an activation, or an activation's gradient, on the way out. The sums of A's rows are a second
// output: of a weight gradient, that of the bias.

@group(0) @binding(0) var<storage, read> a: array<A>;                 // (M, K), or (K, M) if transposed
@group(0) @binding(1) var<storage, read> b: array<B>;                 // (K, N), or (N, K) if transposed
@group(0) @binding(2) var<storage, read> bias: array<f32>;            // (N)
@group(0) @binding(3) var<storage, read> saved: array<Saved>;         // (M, N)
@group(0) @binding(4) var<storage, read_write> output: array<Output>; // (parts, M, N)
@group(0) @binding(5) var<storage, read_write> row_sums: array<f32>;  // (M)
@group(0) @binding(6) var<uniform> params: Params;

struct Params {
    m: u32,
    n: u32,
    k: u32,
    parts: u32, // that the sums are split into, each with a slab of C of its own
}

override TRANSPOSE_A: bool = false;
override TRANSPOSE_B: bool = false;
override HAS_BIAS: bool = false;
override ROW_SUMS: bool = false;

struct Row { first: u32, step: u32 }
struct Column { first: u32, step: u32 }
struct Inner { k: u32 }
struct Walk { step: u32 }

fn product_size(part: u32) -> Size {
    let range = part_of(params.k, params.parts, part);
    return Size(params.m, params.n, range.x, range.y);
}

fn product_row(part: u32, m: u32) -> Row {
    if TRANSPOSE_A { return Row(m, params.m); }
    return Row(m * params.k, 1u);
}

fn product_column(part: u32, n: u32) -> Column {
    if TRANSPOSE_B { return Column(n * params.k, 1u); }
    return Column(n, params.n);
}

fn product_inner(k: u32) -> Inner {
    return Inner(k);
}

fn product_step(step: u32) -> Walk {
    return Walk(step);
}

fn product_after(inner: Inner, walk: Walk) -> Inner {
    return product_inner(inner.k + walk.step);
}

fn load_a(row: Row, inner: Inner) -> f32 {
    return f32(a[row.first + inner.k * row.step]);
}

fn load_b(column: Column, inner: Inner) -> f32 {
    return f32(b[column.first + inner.k * column.step]);
}

// Where the sums are not in parts.
fn store_row_sum(part: u32, m: u32, value: f32) {
    row_sums[m] = value;
}

fn store_c(part: u32, m: u32, n: u32, value: f32) {
    var result = value;
    if HAS_BIAS { result += bias[n]; }
    store((part * params.m + m) * params.n + n, result);
}
