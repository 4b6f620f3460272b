// A transformed block, to the kernel's buffer `values`, array<vec4<f32>>: for core/fft.wgsl.

// The points of the invocation whose first one goes to `at`.
fn store_block(at: u32, v: Eight) {
    values[at] = v.v0;
    values[at + 256u] = v.v1;
    values[at + 512u] = v.v2;
    values[at + 768u] = v.v3;
    values[at + 1024u] = v.v4;
    values[at + 1280u] = v.v5;
    values[at + 1536u] = v.v6;
    values[at + 1792u] = v.v7;
}
