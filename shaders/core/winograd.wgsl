
// The convolution that the tiles are of.

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
    points: u32,     // of a tile: 36 of one of 4x4 results, 6 of one of a row
    parts: u32,      // that the sums over a chunk's tiles are split into, for the gradient of weights
}
