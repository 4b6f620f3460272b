
// A quotient of whole numbers and what is left, exactly, whatever the division of the device.
struct Quotient {
    whole: u32,
    rest: u32,
}

// (step * i + offset) / unit, or 0 where that is negative. The quotient, step and unit are below 2^26; the
// product may be any.
fn quotient(i: u32, step: u32, offset: i32, unit: u32) -> Quotient {
    // About the quotient, off by a few. What is left then is small, and right although the products wrap.
    var whole = u32(max((f32(step) * f32(i) + f32(offset)) / f32(unit), 0.0));
    var rest = bitcast<i32>(step * i + bitcast<u32>(offset) - whole * unit);
    while rest < 0 {
        if whole == 0u { return Quotient(0u, 0u); }
        whole -= 1u;
        rest += i32(unit);
    }
    while rest >= i32(unit) {
        whole += 1u;
        rest -= i32(unit);
    }
    return Quotient(whole, u32(rest));
}
