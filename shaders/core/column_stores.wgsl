
// Columns of a blocked product (core/product.wgsl) that lie apart, and are stored one by one.

const B_ADJACENT: bool = false;

fn store_quad(slice: u32, size: Size, m: u32, n: u32, distance: u32, c: vec4<f32>) {
    if m >= size.m { return; }
    if n < size.n { store_c(slice, m, n, c.x); }
    if n + distance < size.n { store_c(slice, m, n + distance, c.y); }
    if n + 2u * distance < size.n { store_c(slice, m, n + 2u * distance, c.z); }
    if n + 3u * distance < size.n { store_c(slice, m, n + 3u * distance, c.w); }
}
