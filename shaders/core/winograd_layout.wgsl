
// How a chunk's tiles at the points, and their sums, lie between the dispatches of a Winograd convolution. A workgroup of 64 has
// 16 tiles of 4 channels, or 4 of 16, so that neighbours are neighbours in memory.
//   LAYOUT = 0  for subgroups of 8:                         (points, octet, quad of channels, 8 tiles, 4 channels)
//   LAYOUT = 1  for a product that sums over channels:      (points, channel, tile)
//   LAYOUT = 2  for one that sums over tiles, to weights:   (points, tile, channel)
// There are 36 points, or 6 of tiles of one row. In all of them quads of channels are filled up.
//
// Grid   x: quads of channels, of four quads in the last layout; y: 16 tiles, or 4

override LAYOUT: u32 = 0u;

// A tile of the chunk, and one of a quad of channels.
struct Element { tile: u32, quad: u32, channel: u32 }

// What an invocation has.
fn own_element(group: vec3<u32>, thread: u32) -> Element {
    if LAYOUT == 0u { return Element(group.y * 16u + thread / 4u, group.x, thread % 4u); }
    if LAYOUT == 1u { return Element(group.y * 16u + thread % 16u, group.x, thread / 16u); }
    return Element(group.y * 4u + thread / 16u, group.x * 4u + thread % 16u / 4u, thread % 4u);
}

// Its place at one of the points, of so many quads.
fn place_in_layout(own: Element, quads: u32) -> u32 {
    if LAYOUT == 0u { return ((own.tile / 8u * quads + own.quad) * 8u + own.tile % 8u) * 4u + own.channel; }
    if LAYOUT == 1u { return (own.quad * 4u + own.channel) * params.octets * 8u + own.tile; }
    return (own.tile * quads + own.quad) * 4u + own.channel;
}

// Where a tile lies: its image, and its place among the image's tiles.
struct TilePlace { n: u32, y: u32, x: u32, inside: bool }

fn tiles_across() -> u32 {
    return (params.out_width + 3u) / 4u;
}

fn tile_place(tile: u32) -> TilePlace {
    let across = tiles_across();
    let down = (params.out_height + rows_of_tile() - 1u) / rows_of_tile();
    let row = tile / across;
    let n = row / down;
    return TilePlace(n, row - n * down, tile - row * across, n < params.batch);
}
