// Depthwise convolution over rows of whole vectors of four: bindings and store for
// core/depthwise_forward.wgsl and core/depthwise_backward_input.wgsl. `in_*` and `out_*` are those of the
// operation that runs here: for backward input, the input is the gradient of the layer's output.

// Tensors are bound as vec4: the binding must cover their length rounded up to 4 floats.
@group(0) @binding(0) var<storage, read> input: array<vec4<Input>>;         // (N, IC, IH, IW)
@group(0) @binding(1) var<storage, read> weight: array<Weight>;             // (C, 1, KH, KW)
@group(0) @binding(2) var<storage, read> bias: array<f32>;                  // (OC), or a dummy
@group(0) @binding(3) var<storage, read> saved: array<vec4<Saved>>;         // (N, OC, OH, OW)
@group(0) @binding(4) var<storage, read_write> output: array<vec4<Output>>; // (N, OC, OH, OW)
@group(0) @binding(5) var<uniform> params: Params;

override HAS_BIAS: bool = false;

fn store_pixels(row: u32, x: u32, sum: vec4<f32>) {
    if x < params.out_width { store4((row * params.out_width + x) / 4u, sum); }
}
