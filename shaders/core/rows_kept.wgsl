
// Where core/product.wgsl keeps the sums of quads of A's rows: in `tile_a`, array<vec4<f32>>, which is free by then.

fn keep_rows(at: u32, rows: vec4<f32>) {
    tile_a[at] = rows;
}

fn kept_rows(at: u32) -> vec4<f32> {
    return tile_a[at];
}
