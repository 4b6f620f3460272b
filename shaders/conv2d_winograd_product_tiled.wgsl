// Winograd convolution, second of three: at each of the 36 points, the sums over the channels that are read, as a blocked
// product. A slice is a point of a group.

@group(0) @binding(0) var<storage, read> weights: array<f32>;        // (36, group, octet, IC / 4, 8, 4)
@group(0) @binding(1) var<storage, read> values: array<f32>;         // (36, octet, G * IC / 4, 8 tiles, 4 channels)
@group(0) @binding(2) var<storage, read_write> sums: array<f32>;     // (36, octet, G * OC / 4, 8 tiles, 4 channels)
@group(0) @binding(3) var<uniform> params: Params;

struct Row { first: u32 }
struct Column { first: u32 }
struct Inner { k: u32, at: u32 }
struct Walk { step: u32 }

fn quads() -> u32 {
    return (params.in_channels + 3u) / 4u;
}

fn product_size(slice: u32) -> Size {
    return Size(params.out_channels, params.octets * 8u, 0u, params.in_channels);
}

fn product_row(slice: u32, m: u32) -> Row {
    return Row((slice * (params.out_quads / 2u) + m / 8u) * quads() * 32u + m % 8u * 4u);
}

fn product_column(slice: u32, n: u32) -> Column {
    let point = slice / params.groups;
    let channel_group = slice - point * params.groups;
    let octet = point * params.octets + n / 8u;
    return Column((octet * params.groups + channel_group) * quads() * 32u + n % 8u * 4u);
}

fn product_inner(k: u32) -> Inner {
    return Inner(k, k / 4u * 32u + k % 4u);
}

fn product_step(step: u32) -> Walk {
    return Walk(step);
}

fn product_after(inner: Inner, walk: Walk) -> Inner {
    return product_inner(inner.k + walk.step);
}

fn load_a(row: Row, inner: Inner) -> f32 {
    return weights[row.first + inner.at];
}

fn load_b(column: Column, inner: Inner) -> f32 {
    return values[column.first + inner.at];
}

fn store_c(slice: u32, m: u32, n: u32, value: f32) {
    let point = slice / params.groups;
    let channel_group = slice - point * params.groups;
    let octet = point * params.octets + n / 8u;
    let quad = (octet * params.groups + channel_group) * params.out_quads + m / 4u;
    sums[(quad * 8u + n % 8u) * 4u + m % 4u] = value;
}

// The rows of A are weights, whose sums nobody asks for.
const ROW_SUMS: bool = false;
fn store_row_sum(slice: u32, m: u32, value: f32) {}
