
// The phases of a strided input gradient. A tap k of the filter reaches a place of the padded input where
// (place - k * DILATION) is a multiple of STRIDE. So places that are STRIDE apart meet the same taps, and no
// others: they are a phase, named by place % STRIDE, and its taps are PERIOD apart.

// STRIDE / gcd(STRIDE, DILATION).
override PERIOD_H: u32 = 1u;
override PERIOD_W: u32 = 1u;

const NO_TAP: u32 = 0xffffffffu;

// The first tap of a phase among so many, at most PERIOD, or NO_TAP.
fn first_tap(phase: u32, stride: u32, dilation: u32, taps: u32) -> u32 {
    if dilation == 1u { return phase; }
    var first = NO_TAP;
    for (var k = 0u; k < taps; k++) {
        if k * dilation % stride == phase { first = min(first, k); }
    }
    return first;
}

// How many taps there are from the first on, in a filter of this size.
fn count_taps(first: u32, period: u32, size: u32) -> u32 {
    return select((size + period - 1u - first) / period, 0u, first >= min(period, size));
}
