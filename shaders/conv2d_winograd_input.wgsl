// Winograd convolution, first of three: the tiles of the input at the points of core/winograd_points.wgsl. An invocation
// has one tile and one channel.
//
// Grid   x: groups * ceil(IC / 4); y: 16 of the chunk's tiles

@group(0) @binding(0) var<storage, read> input: array<vec4<Input>>;       // (N, G * IC, IH, IW)
@group(0) @binding(1) var<storage, read_write> values: array<f32>;        // (36, octet, G * IC / 4, 8 tiles, 4 channels)
@group(0) @binding(2) var<uniform> params: Params;

fn pixels(at: Place, channel: u32, in_row: u32) -> Pixels {
    return own_pixels(at, input_row(at, channel, in_row));
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let tile = tile_place(params.first_tile + group.y * 16u + thread / 4u);
    let place = place_of(tile, thread / 4u % 8u, group.x);
    tile_at_points(place, thread % 4u, group.y * 2u + thread / 32u, group.x);
}
