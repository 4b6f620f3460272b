
// The power of local response normalisation, d^-beta for d >= 0.

// 4 * beta where that is a small whole number, as it is in every network that is known: square roots are
// exact where the driver's powers need not be. Otherwise -1.
override QUARTERS: i32 = -1;

fn response(d: f32, beta: f32) -> f32 {
    // The driver's logarithm of these may be any number.
    if QUARTERS < 0 && d > 0.0 && d <= 3.4028234e38 { return pow(d, -beta); }
    if QUARTERS < 0 && !is_nan(d) { return select(1.0 / d, 1.0, beta == 0.0); }
    let root = sqrt(sqrt(d));
    var power = 1.0;
    for (var i = 0; i < QUARTERS; i++) { power *= root; }
    return select(1.0 / power, d, is_nan(d));
}
