
// A sum of squares without what a mean that was off by a little added to it. The sum may be infinite, or NaN,
// which a compiler that makes a maximum of the comparison alone would lose.
fn corrected(squares: f32, excess: f32) -> f32 {
    let left = squares - min(excess, 3.4028234e38);
    return select(left, 0.0, left < 0.0 && !is_nan(left));
}
