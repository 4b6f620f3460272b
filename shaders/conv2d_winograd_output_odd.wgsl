// Winograd convolution, last of three: core/winograd_output.wgsl, through the epilogue, where they do not: elements are
// stored by themselves, as neighbours in a vector belong to other invocations.

@group(0) @binding(0) var<storage, read> sums: array<f32>;                  // core/winograd_layout.wgsl
@group(0) @binding(1) var<storage, read> bias: array<f32>;                  // (G * OC), or a dummy
@group(0) @binding(2) var<storage, read> saved: array<Saved>;               // (N, G * OC, OH, OW)
@group(0) @binding(3) var<storage, read_write> output: array<Output>;       // (N, G * OC, OH, OW)
@group(0) @binding(4) var<storage, read> input: array<vec4<Input>>;         // (N, G * IC, IH, IW)
@group(0) @binding(5) var<storage, read> weight: array<Weight>;             // (O, I, taps)
@group(0) @binding(6) var<uniform> params: Params;

// Up to four pixels of one row of a plane.
fn store_pixels(plane: u32, y: u32, x: u32, sum: vec4<f32>) {
    if y >= params.out_height { return; }
    let i = (plane * params.out_height + y) * params.out_width + x;
    for (var pixel = 0u; pixel < 4u; pixel++) {
        if x + pixel < params.out_width { store(i + pixel, sum[pixel]); }
    }
}
