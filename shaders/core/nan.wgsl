
// NaN is told by its bits, since compilers may assume that no comparison meets one.
fn is_nan(x: f32) -> bool {
    return (bitcast<u32>(x) & 0x7fffffffu) > 0x7f800000u;
}

// By the bits too, since a device may take what is nearly zero for zero, and NaN for anything.
fn not_positive(x: f32) -> bool {
    return bitcast<i32>(x) <= 0 && !is_nan(x);
}
