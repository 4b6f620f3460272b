// Winograd convolution, first of three: the tiles of the input at the points of core/winograd_points.wgsl, for subgroups
// of exactly 8 lanes and rows of whole vectors.
//
// A lane has one tile and four channels, one after the other. Neighbouring tiles overlap by two columns: a lane loads one block
// of 4 pixels of a row and gets the others from its neighbours by shuffle, as in core/rows.wgsl. All lanes stay, since
// shuffles need them, and those without work load nothing.
//
// Grid   x: groups * ceil(IC / 4); y: octets of the chunk's tiles

@group(0) @binding(0) var<storage, read> input: array<vec4<Input>>;       // (N, G * IC, IH, IW)
@group(0) @binding(1) var<storage, read_write> values: array<f32>;        // (points, octet, G * IC / 4, 8 tiles, 4 channels)
@group(0) @binding(2) var<uniform> params: Params;

// As in the params: pixels move by it within vectors.
override PAD_LEFT: u32 = 1u;
// False only where no tile needs a block that no neighbouring lane has loaded.
override EDGE_LOADS: bool = true;

fn load_block(row: u32, block: i32) -> vec4<f32> {
    return vec4<f32>(input[row * (params.in_width / 4u) + u32(block)]);
}

fn pixels(at: Place, channel: u32, in_row: u32) -> Pixels {
    let place = input_row(at, channel, in_row);
    let row = place.row;
    let inside = place.inside;
    let shift = (4u - PAD_LEFT % 4u) % 4u; // the first pixel within its block
    let blocks = i32(params.in_width / 4u);
    let own = select(0, 1, shift == 3u); // of three blocks, the one in the middle
    let block = i32(at.column) - i32((PAD_LEFT + 3u) / 4u) + own;
    var mine = vec4<f32>();
    if inside && block >= 0 && block < blocks { mine = load_block(row, block); }
    var a = mine;
    var b = mine;
    if shift == 3u {
        let from_left = at.lane > 0u && at.column > 0u;
        a = select(vec4<f32>(), subgroupShuffle(mine, (at.lane + 7u) % 8u), from_left);
        if EDGE_LOADS && inside && !from_left && block >= 1 && block <= blocks { a = load_block(row, block - 1); }
    }
    let from_right = at.lane < 7u && at.column + 1u < tiles_across();
    var d = select(vec4<f32>(), subgroupShuffle(mine, (at.lane + 1u) % 8u), from_right);
    if EDGE_LOADS && inside && !from_right && block >= -1 && block + 1 < blocks { d = load_block(row, block + 1); }
    if shift != 3u { b = d; }
    return Pixels(slide(a, b, d, shift), slide(a, b, d, shift + 2u));
}

@compute @workgroup_size(8)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(subgroup_invocation_id) lane: u32,
) {
    let place = place_of(Element(group.y * 8u + lane, group.x, 0u));
    for (var channel = 0u; channel < 4u; channel++) {
        tile_at_points(place, Element(group.y * 8u + lane, group.x, channel));
    }
}
