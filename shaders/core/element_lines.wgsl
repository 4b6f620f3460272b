
// Quads that a blocked product (core/product.wgsl) loads element by element: four rows of A, and four columns of B, of
// which core/element_quads.wgsl or core/element_quads_kept.wgsl keeps what is known.
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

fn product_walk(start: Start, step: u32) -> Walk {
    return product_step(step);
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

fn load_columns(columns: Columns, inner: Inner, k_end: u32) -> vec4<f32> {
    if inner.k >= k_end { return vec4<f32>(); }
    return vec4(
        load_b(columns.c0, inner),
        load_b(columns.c1, inner),
        load_b(columns.c2, inner),
        load_b(columns.c3, inner),
    );
}
