
const INVOCATIONS: u32 = 64u;

// Before that, each invocation adds up every 64th value, and where there may be many of them, the values
// of one block after the other: 16 to a block, so that no sum is long enough to lose digits.
const BLOCK: u32 = 1024u;

fn reduce_max(thread: u32, value: f32) -> f32 {
    reduced[thread] = value;
    workgroupBarrier();
    if thread < 8u { eighths[thread] = max(max_of_four(thread), max_of_four(thread + 8u)); }
    workgroupBarrier();
    return max(
        max(max(eighths[0], eighths[4]), max(eighths[2], eighths[6])),
        max(max(eighths[1], eighths[5]), max(eighths[3], eighths[7])),
    );
}

fn max_of_four(at: u32) -> f32 {
    return max(max(reduced[at], reduced[at + 32u]), max(reduced[at + 16u], reduced[at + 48u]));
}
