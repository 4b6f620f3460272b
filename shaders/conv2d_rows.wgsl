// Convolution by rows of pixels: bindings, loaders and store for core/rows.wgsl.
//
// One kernel serves two operations, both a stride-1 convolution with packed weights:
//   conv2d forward          input = x,  output = y,  PAD = padding
//   conv2d backward input   input = gy, output = gx, PAD = kernel - 1 - padding
// They differ in how conv2d_pack_weight.wgsl packed the filter (`backward`), and in the fused
// flags below. `in_*` and `out_*` are those of the convolution that runs here, so for backward
// input `in_channels` is the layer's number of output channels.

// Tensors are bound as vec4: the binding must cover their length rounded up to 4 floats.
@group(0) @binding(0) var<storage, read> input: array<vec4<Input>>;          // (N, IC, IH, IW)
@group(0) @binding(1) var<storage, read> packed_weight: array<vec4<Packed>>; // see conv2d_pack_weight.wgsl
@group(0) @binding(2) var<storage, read> bias: array<f32>;                   // (OC), or a dummy
@group(0) @binding(3) var<storage, read> saved: array<vec4<Saved>>;          // (N, OC, OH, OW)
@group(0) @binding(4) var<storage, read_write> output: array<vec4<Output>>;  // (N, OC, OH, OW)
@group(0) @binding(5) var<uniform> params: Params;

override KERNEL_H: u32 = 3u;
override KERNEL_W: u32 = 3u;
override PAD_TOP: u32 = 1u;
override PAD_LEFT: u32 = 1u;
// in_width % 4 == 0 and out_width % 4 == 0: a strip is then one vec4 of its tensor.
override INPUT_VEC4: bool = false;
override OUTPUT_VEC4: bool = false;
// False only where no strip needs a block that no neighbouring lane has loaded (see the host's rule).
override EDGE_LOADS: bool = true;

// Columns 4 * block .. 4 * block + 3 of one input row; zero outside the row.
// `row` is (n * IC + c) * IH + y. Called under a lane mask: inactive lanes cost nothing.
fn load_block(row: u32, block: i32) -> vec4<f32> {
    let x = u32(block) * 4u;
    let i = row * params.in_width + x;
    if INPUT_VEC4 { return vec4<f32>(input[i / 4u]); }
    var v = vec4(f32(input[i / 4u][i % 4u]), 0.0, 0.0, 0.0);
    if x + 1u < params.in_width { v.y = f32(input[(i + 1u) / 4u][(i + 1u) % 4u]); }
    if x + 2u < params.in_width { v.z = f32(input[(i + 2u) / 4u][(i + 2u) % 4u]); }
    if x + 3u < params.in_width { v.w = f32(input[(i + 3u) / 4u][(i + 3u) % 4u]); }
    return v;
}

// Stores up to four consecutive pixels of one output row.
fn store_output(n: u32, channel: u32, y: u32, x: u32, sum: vec4<f32>) {
    if channel >= params.out_channels { return; }
    let i = ((n * params.out_channels + channel) * params.out_height + y) * params.out_width + x;
    if OUTPUT_VEC4 {
        store4(i / 4u, sum);
    } else {
        for (var pixel = 0u; pixel < 4u; pixel++) {
            if x + pixel < params.out_width { store(i + pixel, sum[pixel]); }
        }
    }
}
