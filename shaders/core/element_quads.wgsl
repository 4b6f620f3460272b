
// What is known of rows and columns, in the registers of the invocation that loads them: for core/element_lines.wgsl.

struct Place { rows: Rows, other_rows: Rows, columns: Columns, a: Inner, b: Inner }

fn product_start(start: Start) -> Place {
    return Place(
        rows_of(start, start.quad_a),
        rows_of(start, start.quad_a + QUADS_APART),
        columns_of(start),
        product_inner(start.k_a),
        product_inner(start.k_b),
    );
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

fn load_quad_b(place: Place, k_end: u32) -> vec4<f32> {
    return load_columns(place.columns, place.b, k_end);
}
