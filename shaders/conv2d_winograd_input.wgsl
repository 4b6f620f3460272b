// Winograd convolution, first of three: the tiles of the input at the points of core/winograd_points.wgsl. An invocation
// has one tile and one channel.
//
// Grid   as in core/winograd_layout.wgsl

@group(0) @binding(0) var<storage, read> input: array<vec4<Input>>;       // (N, G * IC, IH, IW)
@group(0) @binding(1) var<storage, read_write> values: array<f32>;        // core/winograd_layout.wgsl
@group(0) @binding(2) var<uniform> params: Params;

fn pixels(at: Place, channel: u32, in_row: u32) -> Pixels {
    return own_pixels(at, input_row(at, channel, in_row));
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let own = own_element(group, thread);
    if own.quad < all_quads() { tile_at_points(place_of(own), own); }
}
