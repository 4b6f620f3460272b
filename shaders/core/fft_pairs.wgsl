// Frequencies of blocks of two complex signals, of which each is two real ones: the frequencies of these follow from those of a
// complex one at a frequency and at the opposite one, where a real one's are conjugate. So half of the frequencies are at work.

// Where a frequency and the opposite one lie in a block.
struct Frequency { at: u32, opposite: u32, there: bool }

// Of 1,025, or of 32 rows of 33; in the first column and the last there are opposite ones too, which are left out.
fn frequency_of(index: u32) -> Frequency {
    if PLANE {
        let y = index / 33u;
        let x = index - y * 33u;
        let twice = y > 16u && (x == 0u || x == 32u);
        return Frequency(y * 64u + x, ((32u - y) & 31u) * 64u + ((64u - x) & 63u), y < 32u && !twice);
    }
    return Frequency(index, (POINTS - index) & (POINTS - 1u), index <= POINTS / 2u);
}

// Four complex numbers, of a real signal each.
struct Pairs { low: vec4<f32>, high: vec4<f32> }

// Twice the numbers of four real signals, from those of two complex ones at a frequency and at the opposite one.
fn apart(a: vec4<f32>, b: vec4<f32>) -> Pairs {
    return Pairs(
        vec4(a.x + b.x, a.y - b.y, a.y + b.y, b.x - a.x),
        vec4(a.z + b.z, a.w - b.w, a.w + b.w, b.z - a.z),
    );
}

// And back. Real and imaginary parts change places, which makes of the next transform that back.
fn together(p: Pairs) -> vec4<f32> {
    return vec4(p.low.y + p.low.z, p.low.x - p.low.w, p.high.y + p.high.z, p.high.x - p.high.w);
}

// The same at the opposite frequency.
fn together_opposite(p: Pairs) -> vec4<f32> {
    return vec4(p.low.z - p.low.y, p.low.x + p.low.w, p.high.z - p.high.y, p.high.x + p.high.w);
}
