
// Sums and maxima over the 64 invocations of a workgroup, as a tree and so always in the same order.
// Every invocation must call them, and gets the result.

var<workgroup> reduced: array<f32, 64>;

// Before that, each invocation adds up every 64th value, and where there may be many of them, the values
// of one block after the other: 16 to a block, so that no sum is long enough to lose digits.
const BLOCK: u32 = 1024u;

fn reduce_sum(thread: u32, value: f32) -> f32 {
    reduced[thread] = value;
    for (var half = 32u; half > 0u; half /= 2u) {
        workgroupBarrier();
        if thread < half { reduced[thread] += reduced[thread + half]; }
    }
    return reduce_end();
}

fn reduce_max(thread: u32, value: f32) -> f32 {
    reduced[thread] = value;
    for (var half = 32u; half > 0u; half /= 2u) {
        workgroupBarrier();
        if thread < half { reduced[thread] = max(reduced[thread], reduced[thread + half]); }
    }
    return reduce_end();
}

fn reduce_end() -> f32 {
    workgroupBarrier();
    let result = reduced[0];
    workgroupBarrier(); // nobody writes the next values before all have read this one
    return result;
}
