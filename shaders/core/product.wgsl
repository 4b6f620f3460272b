
// What the blocked products share: their tiles, and loads and stores by quads.
//
// A kernel provides
//   product_size(slice) -> Size          M, N and the range of k that this slice sums over
//   product_row(slice, m) -> Row         what is known of a row of A, decoded once
//   product_column(slice, n) -> Column   what is known of a column of B, decoded once
//   product_inner(k) -> Inner            what is known of a k, `k` itself among it; for any k
//   product_walk(step) -> Walk           what leads from a k to the one `step` further on
//   product_next(inner, walk) -> Inner   what is known of that, which may cost less than to decode it
//   load_a(row, inner) -> f32            for m < M and k within the range
//   load_b(column, inner) -> f32         for n < N and k within the range
//   store_c(slice, m, n, value)          for m < M and n < N
// A slice is a channel group or a part of a split sum.

// Whether neighbours along k (rather than along m or n) are neighbours in memory.
override A_ALONG_K: bool = true;
override B_ALONG_K: bool = false;

struct Size {
    m: u32,
    n: u32,
    k_begin: u32,
    k_end: u32,
}

struct Rows { r0: Row, r1: Row, r2: Row, r3: Row }
struct Columns { c0: Column, c1: Column, c2: Column, c3: Column }

var<workgroup> tile_a: array<vec4<f32>, TILE_QUADS>; // (k, m / 4)
var<workgroup> tile_b: array<vec4<f32>, TILE_QUADS>; // (k, n / 4)

// The first row and column of this workgroup's tile.
fn tile_corner(group: vec3<u32>, size: Size, side: u32) -> vec2<u32> {
    let tiles_m = (size.m + side - 1u) / side;
    let tile = flat_group(group);
    return vec2(tile % tiles_m, tile / tiles_m) * side;
}

// The row and the column of an invocation among SIDE x SIDE. A subgroup of 32 has 4 rows and 8 columns, and
// neighbours have the same column, so that what they read of a tile is little, and GPUs that read vec4s for
// part of a subgroup at a time read it for two parts at once.
fn place_of(thread: u32) -> vec2<u32> {
    let row = (thread & 1u) | ((thread >> 3u) & 14u);
    let column = ((thread >> 1u) & 7u) | ((thread >> 4u) & 8u);
    return vec2(row, column);
}

// Rows and columns beyond the edge are the last one instead; what they give is not stored.
fn rows_of(slice: u32, size: Size, m: u32, distance: u32) -> Rows {
    let last = size.m - 1u;
    return Rows(
        product_row(slice, min(m, last)),
        product_row(slice, min(m + distance, last)),
        product_row(slice, min(m + 2u * distance, last)),
        product_row(slice, min(m + 3u * distance, last)),
    );
}

fn columns_of(slice: u32, size: Size, n: u32, distance: u32) -> Columns {
    let last = size.n - 1u;
    return Columns(
        product_column(slice, min(n, last)),
        product_column(slice, min(n + distance, last)),
        product_column(slice, min(n + 2u * distance, last)),
        product_column(slice, min(n + 3u * distance, last)),
    );
}

// Beyond the range of k everything is zero.
fn load_quad_a(rows: Rows, inner: Inner, k_end: u32) -> vec4<f32> {
    if inner.k >= k_end { return vec4<f32>(); }
    return vec4(
        load_a(rows.r0, inner),
        load_a(rows.r1, inner),
        load_a(rows.r2, inner),
        load_a(rows.r3, inner),
    );
}

fn load_quad_b(columns: Columns, inner: Inner, k_end: u32) -> vec4<f32> {
    if inner.k >= k_end { return vec4<f32>(); }
    return vec4(
        load_b(columns.c0, inner),
        load_b(columns.c1, inner),
        load_b(columns.c2, inner),
        load_b(columns.c3, inner),
    );
}

fn store_quad(slice: u32, size: Size, m: u32, n: u32, distance: u32, c: vec4<f32>) {
    if m >= size.m { return; }
    if n < size.n { store_c(slice, m, n, c.x); }
    if n + distance < size.n { store_c(slice, m, n + distance, c.y); }
    if n + 2u * distance < size.n { store_c(slice, m, n + 2u * distance, c.z); }
    if n + 3u * distance < size.n { store_c(slice, m, n + 3u * distance, c.w); }
}
