
// Quads that a blocked product (core/product.wgsl) loads element by element: four rows of A, and four columns of B.
//
// A kernel provides
//   product_row(slice, m) -> Row         what is known of a row of A, decoded once
//   product_column(slice, n) -> Column   what is known of a column of B, decoded once
//   product_inner(k) -> Inner            what is known of a k, `k` itself among it; for any k
//   product_step(step) -> Walk           what leads from a k to the one `step` further on
//   product_after(inner, walk) -> Inner  what is known of that, which may cost less than to decode it
//   load_a(row, inner) -> f32            for m < M and k within the range
//   load_b(column, inner) -> f32         for n < N and k within the range

const A_ADJACENT: bool = false;

struct Rows { r0: Row, r1: Row, r2: Row, r3: Row }
struct Columns { c0: Column, c1: Column, c2: Column, c3: Column }
struct Place { rows: Rows, other_rows: Rows, columns: Columns, a: Inner, b: Inner }

fn product_walk(start: Start, step: u32) -> Walk {
    return product_step(step);
}

fn product_start(start: Start) -> Place {
    return Place(
        rows_of(start, start.quad_a),
        rows_of(start, start.quad_a + QUADS_APART),
        columns_of(start),
        product_inner(start.k_a),
        product_inner(start.k_b),
    );
}

fn product_next(place: Place, walk: Walk) -> Place {
    var next = place;
    next.a = product_after(place.a, walk);
    if A_ALONG_K == B_ALONG_K {
        next.b = next.a;
    } else {
        next.b = product_after(place.b, walk);
    }
    return next;
}

// Rows and columns beyond the edge are the last one instead; what they give is not stored.
fn rows_of(start: Start, quad: u32) -> Rows {
    let m = start.corner.x + quad;
    let last = start.size.m - 1u;
    return Rows(
        product_row(start.slice, min(m, last)),
        product_row(start.slice, min(m + start.rows_apart, last)),
        product_row(start.slice, min(m + 2u * start.rows_apart, last)),
        product_row(start.slice, min(m + 3u * start.rows_apart, last)),
    );
}

fn columns_of(start: Start) -> Columns {
    let n = start.corner.y + start.quad_b;
    let last = start.size.n - 1u;
    return Columns(
        product_column(start.slice, min(n, last)),
        product_column(start.slice, min(n + start.columns_apart, last)),
        product_column(start.slice, min(n + 2u * start.columns_apart, last)),
        product_column(start.slice, min(n + 3u * start.columns_apart, last)),
    );
}

fn load_quad_a(place: Place, k_end: u32) -> vec4<f32> {
    return load_rows(place.rows, place.a, k_end);
}

fn load_other_a(place: Place, k_end: u32) -> vec4<f32> {
    return load_rows(place.other_rows, place.a, k_end);
}

// Beyond the range of k everything is zero.
fn load_rows(rows: Rows, inner: Inner, k_end: u32) -> vec4<f32> {
    if inner.k >= k_end { return vec4<f32>(); }
    return vec4(
        load_a(rows.r0, inner),
        load_a(rows.r1, inner),
        load_a(rows.r2, inner),
        load_a(rows.r3, inner),
    );
}

fn load_quad_b(place: Place, k_end: u32) -> vec4<f32> {
    if place.b.k >= k_end { return vec4<f32>(); }
    return vec4(
        load_b(place.columns.c0, place.b),
        load_b(place.columns.c1, place.b),
        load_b(place.columns.c2, place.b),
        load_b(place.columns.c3, place.b),
    );
}
