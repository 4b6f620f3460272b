// The input gradient of layer normalisation of long rows, and of the groups of channels of group
// normalisation, as in norm_layer_backward_input.wgsl, from the sums of h and of h * x^. An invocation per
// element.

@group(0) @binding(0) var<storage, read> input: array<Input>;         // (rows, len)
@group(0) @binding(1) var<storage, read> gradient_output: array<f32>; // (rows, len)
@group(0) @binding(2) var<storage, read> statistics: array<f32>;      // (rows, 2): mean, 1 / deviation
@group(0) @binding(3) var<storage, read> gamma: array<f32>;           // (channels)
@group(0) @binding(4) var<storage, read> sums: array<f32>;            // (rows, 2)
@group(0) @binding(5) var<storage, read> saved: array<Saved>;         // (rows, len)
@group(0) @binding(6) var<storage, read_write> output: array<Output>; // (rows, len)
@group(0) @binding(7) var<uniform> params: Params;

struct Params {
    rows: u32,
    len: u32,
    channels: u32, // elements of gamma
    plane: u32,    // neighbours that share one
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let at = flat_index(group, 64u, thread);
    let row = at / params.len;
    if row >= params.rows { return; }
    let inverse = statistics[2u * row + 1u];
    let normal = (f32(input[at]) - statistics[2u * row]) * inverse;
    let h = scaled(at / params.plane % params.channels, gradient_output[at]);
    let mean_sum = sums[2u * row] / f32(params.len);
    let mean_product = sums[2u * row + 1u] / f32(params.len);
    let change = inverse * (h - mean_sum - normal * mean_product);
    // A row of one value has no gradient; where the product is fused with the difference, its rounding would be one.
    store(at, select(change, 0.0, params.len == 1u));
}
