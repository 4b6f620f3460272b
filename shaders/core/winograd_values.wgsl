
// Where a transform of core/winograd_points.wgsl stores: the kernel's buffer `values`, array<f32>.

// Values at six points, each a stride after the one before.
fn store_six(at: u32, stride: u32, v: Six) {
    values[at] = v.v0;
    values[at + stride] = v.v1;
    values[at + 2u * stride] = v.v2;
    values[at + 3u * stride] = v.v3;
    values[at + 4u * stride] = v.v4;
    values[at + 5u * stride] = v.v5;
}
