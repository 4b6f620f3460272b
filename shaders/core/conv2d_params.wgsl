
// The extents of a convolution: its input, its output, and their channels.
struct Params {
    batch: u32,
    groups: u32,
    in_channels: u32, // of one group
    in_height: u32,
    in_width: u32,
    out_channels: u32, // of one group
    out_height: u32,
    out_width: u32,
    parts: u32, // that long sums are split into
}
