
// The filter of one channel, of at most 7 x 7 taps, as an invocation holds it.

// A row: taps 0 to 3, and 4 to 6. Those beyond KERNEL_W are zero and of no use.
struct Taps { low: vec4<f32>, high: vec4<f32> }
struct Filter { r0: Taps, r1: Taps, r2: Taps, r3: Taps, r4: Taps, r5: Taps, r6: Taps }

// Row `kh`, which is a constant wherever it is called.
fn filter_row(f: Filter, kh: u32) -> Taps {
    switch kh {
        case 0u: { return f.r0; }
        case 1u: { return f.r1; }
        case 2u: { return f.r2; }
        case 3u: { return f.r3; }
        case 4u: { return f.r4; }
        case 5u: { return f.r5; }
        default: { return f.r6; }
    }
}
