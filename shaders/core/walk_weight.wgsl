
// The filter of a channel from the kernel's buffer `weight`, array<Weight>.

fn load_tap(channel: u32, kh: u32, kw: u32) -> f32 {
    var w = 0.0;
    if kh < KERNEL_H && kw < KERNEL_W { w = f32(weight[(channel * KERNEL_H + kh) * KERNEL_W + kw]); }
    return w;
}

fn load_taps(channel: u32, kh: u32) -> Taps {
    return Taps(
        vec4(load_tap(channel, kh, 0u), load_tap(channel, kh, 1u), load_tap(channel, kh, 2u), load_tap(channel, kh, 3u)),
        vec4(load_tap(channel, kh, 4u), load_tap(channel, kh, 5u), load_tap(channel, kh, 6u), 0.0),
    );
}

fn load_filter(channel: u32) -> Filter {
    return Filter(
        load_taps(channel, 0u), load_taps(channel, 1u), load_taps(channel, 2u), load_taps(channel, 3u),
        load_taps(channel, 4u), load_taps(channel, 5u), load_taps(channel, 6u),
    );
}

// What the sums of a channel start from.
fn initial_sum(channel: u32) -> vec4<f32> {
    var start = 0.0;
    if HAS_BIAS { start = bias[channel]; }
    return vec4(start);
}
