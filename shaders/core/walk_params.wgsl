
// The extents of a depthwise convolution as it runs: for an input gradient, the roles are swapped. A segment
// is what an invocation computes: so many rows of a strip of 4 columns.
struct Params {
    planes: u32,     // batch * channels
    channels: u32,   // that it writes
    multiplier: u32, // how many of them have one input plane
    in_height: u32,
    in_width: u32,
    out_height: u32,
    out_width: u32,
    rows: u32,       // of a segment
    segments: u32,   // of a strip
}
