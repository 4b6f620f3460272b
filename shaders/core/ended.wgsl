// Sums that have come to an end: nothing that is added to a NaN changes it.

// The smaller magnitudes, by their bits.
fn fewest(least: vec4<u32>, v: vec4<f32>) -> vec4<u32> {
    return min(least, bitcast<vec4<u32>>(v) & vec4(0x7fffffffu));
}

// Whether the least of sums are NaN.
fn all_nan(least: vec4<u32>) -> bool {
    return all(least > vec4(0x7f800000u));
}
