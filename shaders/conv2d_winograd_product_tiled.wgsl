// Winograd convolution, second of three: at each of the points, the sums over the channels that are read, as a blocked
// product of matrices. A slice is a point of a group, and the channels of a group are filled up.

@group(0) @binding(0) var<storage, read> weights: array<vec4<f32>>;        // (points, group, IC, OC / 4)
@group(0) @binding(1) var<storage, read> values: array<vec4<f32>>;         // (points, G * IC, tiles / 4)
@group(0) @binding(2) var<storage, read_write> sums: array<vec4<f32>>;     // (points, G * OC, tiles / 4)
@group(0) @binding(3) var<uniform> params: Params;

fn product_size(slice: u32) -> Size {
    return Size(params.out_channels, params.octets * 8u, 0u, params.in_channels);
}

// Channels that are read, filled up to whole quads.
fn channels() -> u32 {
    return (params.in_channels + 3u) / 4u * 4u;
}

fn product_a(slice: u32) -> Quads {
    let pitch = params.out_quads;
    return Quads(slice * channels() * pitch, pitch);
}

fn product_b(slice: u32) -> Quads {
    let pitch = params.octets * 2u;
    return Quads(slice * channels() * pitch, pitch);
}

fn load_a(at: u32) -> vec4<f32> {
    return weights[at];
}

fn load_b(at: u32) -> vec4<f32> {
    return values[at];
}

fn store_c4(slice: u32, m: u32, n: u32, value: vec4<f32>) {
    sums[(slice * params.out_quads * 4u + m) * params.octets * 2u + n / 4u] = value;
}
