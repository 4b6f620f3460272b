// Products with the zeros that an image is padded with.

// By its bits, as a compiler may take zero for whatever is multiplied with zero.
fn times_zero(w: f32) -> f32 {
    let bits = bitcast<u32>(w);
    let finite = (bits & 0x7f800000u) != 0x7f800000u;
    return bitcast<f32>(select(bits | 0x7fc00000u, 0u, finite));
}
