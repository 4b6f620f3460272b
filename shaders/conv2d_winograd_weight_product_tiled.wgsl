// The weight gradient of a convolution by Winograd's algorithm, third of four: at each of the points, the products of the
// output's gradient and the input, summed over a chunk's tiles, as a blocked product of matrices. A slice is a part of the
// tiles, of a point of a group.

@group(0) @binding(0) var<storage, read> gradients: array<vec4<f32>>;  // (points, tile, G * OC / 4), groups filled up
@group(0) @binding(1) var<storage, read> values: array<vec4<f32>>;     // (points, tile, G * IC / 4), likewise
@group(0) @binding(2) var<storage, read_write> sums: array<vec4<f32>>; // (parts, points, G * OC, filled up, IC / 4)
@group(0) @binding(3) var<uniform> params: Params;

// Part, point and group of a slice.
struct Slice { part: u32, at_point: u32, channel_group: u32 }

fn slice_of(slice: u32) -> Slice {
    let of_point = slice / params.parts;
    let point = of_point / params.groups;
    return Slice(slice - of_point * params.parts, point, of_point - point * params.groups);
}

fn product_size(slice: u32) -> Size {
    let range = part_of(params.chunk_octets * 8u, params.parts, slice_of(slice).part);
    return Size(params.out_channels, params.in_channels, range.x, range.y);
}

// The quads of a group, of so many channels.
fn quads_at(slice: Slice, channels: u32) -> Quads {
    let quads = (channels + 3u) / 4u;
    let pitch = params.groups * quads;
    return Quads(slice.at_point * params.octets * 8u * pitch + slice.channel_group * quads, pitch);
}

fn product_a(slice: u32) -> Quads {
    return quads_at(slice_of(slice), params.out_channels);
}

fn product_b(slice: u32) -> Quads {
    return quads_at(slice_of(slice), params.in_channels);
}

fn load_a(at: u32) -> vec4<f32> {
    return gradients[at];
}

fn load_b(at: u32) -> vec4<f32> {
    return values[at];
}

// With what the chunks before have come to.
fn store_c4(slice: u32, m: u32, n: u32, value: vec4<f32>) {
    let own = slice_of(slice);
    let rows = params.out_quads * 4u;
    let row = ((own.part * params.points + own.at_point) * params.groups + own.channel_group) * rows + m;
    let at = row * ((params.in_channels + 3u) / 4u) + n / 4u;
    var sum = value;
    if params.first_tile > 0u { sum += sums[at]; }
    sums[at] = sum;
}
