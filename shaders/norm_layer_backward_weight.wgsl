// The gradients of gamma and beta of layer normalisation: the sums over the rows of gy * x^ and of
// gy. An invocation per element of a row.

@group(0) @binding(0) var<storage, read> input: array<Input>;              // (rows, len)
@group(0) @binding(1) var<storage, read> gradient_output: array<f32>;      // (rows, len)
@group(0) @binding(2) var<storage, read> statistics: array<f32>;           // (rows, 2): mean, 1 / deviation
@group(0) @binding(3) var<storage, read_write> gradient_gamma: array<f32>; // (len)
@group(0) @binding(4) var<storage, read_write> gradient_beta: array<f32>;  // (len)
@group(0) @binding(5) var<uniform> params: Params;

struct Params {
    rows: u32,
    len: u32,
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let i = flat_index(group, 64u, thread);
    if i >= params.len { return; }
    var gamma = 0.0;
    var beta = 0.0;
    let rows = loop_bound(params.rows, group);
    for (var row = 0u; row < rows; row++) {
        let at = row * params.len + i;
        let normal = (f32(input[at]) - statistics[2u * row]) * statistics[2u * row + 1u];
        gamma += gradient_output[at] * normal;
        beta += gradient_output[at];
    }
    gradient_gamma[i] = gamma;
    gradient_beta[i] = beta;
}
