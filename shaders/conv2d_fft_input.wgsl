// Convolution by Fourier transforms, first of three: the blocks of the images at their frequencies, four channels a block
// of two complex signals: channels 0 and 2 are their real parts, 1 and 3 their imaginary ones.
//
// Grid   x: groups * ceil(IC / 4); y: the chunk's tiles, and those that parts of the filter read behind them

@group(0) @binding(0) var<storage, read> input: array<Input>;            // (N, G * IC, IH, IW)
@group(0) @binding(1) var<storage, read> twiddles: array<vec2<f32>>;     // (256)
@group(0) @binding(2) var<storage, read_write> values: array<vec4<f32>>; // (tile, G * ceil(IC / 4), 2048)
@group(0) @binding(3) var<uniform> params: Params;

// Whether a block is the results of its tile alone, with zeros behind them: of an output gradient, for that of the weights.
override ALONE: bool = false;

struct Source { plane: u32, channels: u32, y: i32, x: i32 }

fn point(source: Source, n: u32) -> vec4<f32> {
    let place = point_of(n);
    let y = source.y + i32(place.x);
    let x = source.x + i32(place.y);
    var there = y >= 0 && x >= 0 && y < i32(params.in_height) && x < i32(params.in_width);
    if ALONE { there = there && place.x < params.span_height && place.y < params.span_width; }
    if !there { return vec4(0.0); }
    let plane = params.in_height * params.in_width;
    let at = source.plane * plane + u32(y) * params.in_width + u32(x);
    let last = source.channels - 1u;
    let all = vec4(
        f32(input[at]),
        f32(input[at + min(1u, last) * plane]),
        f32(input[at + min(2u, last) * plane]),
        f32(input[at + min(3u, last) * plane]),
    );
    return select(vec4(0.0), all, vec4(0u, 1u, 2u, 3u) < vec4(source.channels));
}

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let tile = tile_of(params.first_tile + group.y);
    if !tile.inside { return; }
    let quads = (params.in_channels + 3u) / 4u;
    let channel_group = group.x / quads;
    let channel = (group.x - channel_group * quads) * 4u;
    let source = Source(
        (tile.n * params.groups + channel_group) * params.in_channels + channel,
        min(params.in_channels - channel, 4u),
        i32(tile.y * params.span_height) - params.pad_top,
        i32(tile.x * params.span_width) - params.pad_left,
    );
    let at = (group.y * params.groups * quads + group.x) * POINTS + thread;
    store_block(at, transformed(block_of(source, thread), thread));
}
