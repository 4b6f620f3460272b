// What the gradients of group normalisation are made of: the sums over each plane of gy * x^ and of gy, where
// x^ is the normalised input. A workgroup per plane and part of it; where there are several parts,
// reduce_parts.wgsl adds them.

@group(0) @binding(0) var<storage, read> input: array<vec4<Input>>;   // (N, C, plane)
@group(0) @binding(1) var<storage, read> given: array<vec4<Given>>;   // (N, C, plane), see core/gradient.wgsl
@group(0) @binding(2) var<storage, read> statistics: array<f32>;      // (N, groups, 2): mean, 1 / deviation
@group(0) @binding(3) var<storage, read_write> products: array<f32>;  // (parts, N, C)
@group(0) @binding(4) var<storage, read_write> sums: array<f32>;      // (parts, N, C)
@group(0) @binding(5) var<uniform> params: Params;

struct Params {
    planes: u32,    // N * C
    per_group: u32, // channels
    plane: u32,     // in vectors of four with PLANE_VEC4
    parts: u32,
}

@compute @workgroup_size(INVOCATIONS)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let slot = flat_group(group); // part * planes + plane
    if slot / params.planes >= params.parts { return; }
    let part = part_of(params.plane, params.parts, slot / params.planes);
    let plane = slot % params.planes;
    let row = plane / params.per_group;
    let mean = statistics[2u * row];
    let inverse = statistics[2u * row + 1u];
    var found_products = vec4<f32>();
    var found_sums = vec4<f32>();
    for (var block = part.x + thread; block < part.y; block += block_len()) {
        let end = min(block + block_len(), part.y);
        var block_products = vec4<f32>();
        var block_sums = vec4<f32>();
        for (var i = block; i < end; i += INVOCATIONS) {
            let at = plane * params.plane + i;
            if PLANE_VEC4 {
                let gradient = gradients_at(at);
                block_products += gradient * ((vec4<f32>(input[at]) - mean) * inverse);
                block_sums += gradient;
            } else {
                let gradient = gradient_at(at);
                block_products.x += gradient * ((f32(input[at / 4u][at % 4u]) - mean) * inverse);
                block_sums.x += gradient;
            }
        }
        found_products += block_products;
        found_sums += block_sums;
    }
    let total = reduce_sums(thread, vec2(sum_of(found_products), sum_of(found_sums)));
    if thread == 0u {
        products[slot] = total.x;
        sums[slot] = total.y;
    }
}
