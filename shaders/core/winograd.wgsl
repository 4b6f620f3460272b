
// Tiles of 4x4 results, and the convolution that they are of.

// The extents of the convolution that runs here: for an input gradient, the roles are swapped. Channels are those of
// one group.
struct Params {
    batch: u32,
    groups: u32,
    in_channels: u32,
    in_height: u32,
    in_width: u32,
    out_channels: u32,
    out_height: u32,
    out_width: u32,
    first_tile: u32, // of the chunk of tiles that is at work
    octets: u32,     // of tiles in a chunk
    out_quads: u32,  // of the channels that are written, filled up
    chunk_octets: u32, // of tiles that are at work
    pad_top: u32,
    pad_left: u32,
    backward: u32,   // 1 of an input gradient, whose filter is flipped both ways
    has_bias: u32,
    parts: u32,      // that the sums over a chunk's tiles are split into, for the gradient of weights
}

// Where a tile lies: its image, and its place among the image's tiles.
struct TilePlace { n: u32, y: u32, x: u32, inside: bool }

fn tiles_across() -> u32 {
    return (params.out_width + 3u) / 4u;
}

fn tile_place(tile: u32) -> TilePlace {
    let across = tiles_across();
    let down = (params.out_height + 3u) / 4u;
    let row = tile / across;
    let n = row / down;
    return TilePlace(n, row - n * down, tile - row * across, n < params.batch);
}
