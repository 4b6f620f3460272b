
// What is known of rows and columns, in the memory of the workgroup, where invocations have no registers for it: for
// core/element_lines.wgsl. Tiles have as many rows as columns, TILE_COLUMNS, and an invocation loads one quad of each.

var<workgroup> lines_a: array<Row, TILE_COLUMNS>;
var<workgroup> lines_b: array<Column, TILE_COLUMNS>;
const APART: u32 = TILE_COLUMNS / 4u;

// The first row of a quad of A, and the first column of one of B.
struct Place { row: u32, column: u32, a: Inner, b: Inner }

fn product_start(start: Start) -> Place {
    // Lines beyond the edge are the last one instead; what they give is not stored.
    if start.thread < TILE_COLUMNS {
        let last = vec2(start.size.m, start.size.n) - 1u;
        let line = min(start.corner + start.thread, last);
        lines_a[start.thread] = product_row(start.slice, line.x);
        lines_b[start.thread] = product_column(start.slice, line.y);
    }
    workgroupBarrier();
    return Place(start.quad_a, start.quad_b, product_inner(start.k_a), product_inner(start.k_b));
}

fn load_quad_a(place: Place, k_end: u32) -> vec4<f32> {
    let row = place.row;
    let rows = Rows(lines_a[row], lines_a[row + APART], lines_a[row + 2u * APART], lines_a[row + 3u * APART]);
    return load_rows(rows, place.a, k_end);
}

// There is no other quad.
fn load_other_a(place: Place, k_end: u32) -> vec4<f32> {
    return load_quad_a(place, k_end);
}

fn load_quad_b(place: Place, k_end: u32) -> vec4<f32> {
    let column = place.column;
    let columns = Columns(
        lines_b[column], lines_b[column + APART], lines_b[column + 2u * APART], lines_b[column + 3u * APART]);
    return load_columns(columns, place.b, k_end);
}
