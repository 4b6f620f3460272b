// Depthwise convolution over rows of any length, and with dilation: as conv2d_depthwise.wgsl, with results
// that are stored one by one, since neighbouring invocations may have components of one vector.

// Bound as vec4: the binding must cover its length rounded up to 4 floats.
@group(0) @binding(0) var<storage, read> input: array<vec4<Input>>;   // (N, IC, IH, IW)
@group(0) @binding(1) var<storage, read> weight: array<Weight>;       // (C, 1, KH, KW)
@group(0) @binding(2) var<storage, read> bias: array<f32>;            // (OC), or a dummy
@group(0) @binding(3) var<storage, read> saved: array<Saved>;         // (N, OC, OH, OW)
@group(0) @binding(4) var<storage, read_write> output: array<Output>; // (N, OC, OH, OW)
@group(0) @binding(5) var<uniform> params: Params;

override HAS_BIAS: bool = false;

fn store_pixels(row: u32, x: u32, sum: vec4<f32>) {
    for (var pixel = 0u; pixel < 4u; pixel++) {
        let column = x + pixel * DILATION_W;
        if column < params.out_width { store(row * params.out_width + column, sum[pixel]); }
    }
}
