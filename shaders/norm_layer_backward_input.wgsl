// The input gradient of layer normalisation: with h = gamma * gy and x^ the normalised input,
// gx = inverse deviation * (h - mean(h) - x^ * mean(h * x^)). A workgroup per row.

@group(0) @binding(0) var<storage, read> input: array<Input>;         // (rows, len)
@group(0) @binding(1) var<storage, read> gradient_output: array<f32>; // (rows, len)
@group(0) @binding(2) var<storage, read> statistics: array<f32>;      // (rows, 2): mean, 1 / deviation
@group(0) @binding(3) var<storage, read> gamma: array<f32>;           // (len)
@group(0) @binding(4) var<storage, read> saved: array<Saved>;         // (rows, len)
@group(0) @binding(5) var<storage, read_write> output: array<Output>; // (rows, len)
@group(0) @binding(6) var<uniform> params: Params;

struct Params {
    rows: u32,
    len: u32,
}

@compute @workgroup_size(INVOCATIONS)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let row = flat_group(group);
    if row >= params.rows { return; }
    let first = row * params.len;
    let mean = statistics[2u * row];
    let inverse = statistics[2u * row + 1u];
    var found = vec2<f32>();
    for (var block = thread; block < params.len; block += block_len()) {
        let end = min(block + block_len(), params.len);
        var block_sums = vec2<f32>();
        for (var i = block; i < end; i += INVOCATIONS) {
            let h = scaled(i, gradient_output[first + i]);
            block_sums += h * vec2(1.0, (f32(input[first + i]) - mean) * inverse);
        }
        found += block_sums;
    }
    let means = reduce_sums(thread, found) / f32(params.len);
    for (var i = thread; i < params.len; i += INVOCATIONS) {
        let normal = (f32(input[first + i]) - mean) * inverse;
        let h = scaled(i, gradient_output[first + i]);
        let change = inverse * (h - means.x - normal * means.y);
        // A row of one value has no gradient; where the product is fused with the difference, its rounding would be one.
        store(first + i, select(change, 0.0, params.len == 1u));
    }
}
