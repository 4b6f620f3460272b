// Blocks of an image as a convolution by Fourier transforms takes them. Tiles of `span` results lie side by side. The block
// of a tile begins where the first of its results begins to read, and is so long that all of them have what they read.
// A filter that is too long for that is cut into parts of as many taps as a tile has results: a part reads another tile's block.

// The convolution that runs here: for an input gradient, the roles are swapped. Channels are those of one group.
struct Params {
    batch: u32,
    groups: u32,
    in_channels: u32,
    in_height: u32,
    in_width: u32,
    out_channels: u32,
    out_height: u32,
    out_width: u32,
    kernel_height: u32,
    kernel_width: u32,
    dilation_height: u32,
    dilation_width: u32,
    pad_top: i32,      // rows and columns by which the first block begins before the image
    pad_left: i32,
    span_height: u32,  // results of a tile
    span_width: u32,
    reach_height: u32, // taps of a part of the filter, gaps counted
    reach_width: u32,
    parts_down: u32,   // of the filter
    parts_across: u32,
    tiles_down: u32,   // blocks of an image, of which the last have no results where the filter has parts
    tiles_across: u32,
    first_tile: u32,   // of the chunk of tiles that is at work
    chunk_tiles: u32,
}

// Where a tile lies: its image, and its place among the image's tiles.
struct Tile { n: u32, y: u32, x: u32, inside: bool }

fn tile_of(tile: u32) -> Tile {
    let row = tile / params.tiles_across;
    let n = row / params.tiles_down;
    return Tile(n, row - n * params.tiles_down, tile - row * params.tiles_across, n < params.batch);
}

// Whether a tile has results, and its block is not there for parts of the filter alone.
fn has_results(tile: Tile) -> bool {
    let down = tile.y + params.parts_down <= params.tiles_down;
    return tile.inside && down && tile.x + params.parts_across <= params.tiles_across;
}
