
// exp and log that give NaN for NaN, of which some drivers' own make a number.

fn is_number(x: f32) -> bool {
    return (bitcast<u32>(x) & 0x7fffffffu) <= 0x7f800000u;
}

fn exponential(x: f32) -> f32 {
    return select(x, exp(x), is_number(x));
}

fn logarithm(x: f32) -> f32 {
    return select(x, log(x), is_number(x));
}
