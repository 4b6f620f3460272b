
// Sums and maxima over the invocations of a workgroup, as a tree and so always in the same order. Every invocation
// must call them, and gets the result. INVOCATIONS is 64, or 8: see reduce_by_64.wgsl and reduce_by_some.wgsl.

// Their values, and what is left of them after the first half of the tree. Two arrays, so that the next values can
// be written while these are read.
var<workgroup> reduced: array<f32, 64>;
var<workgroup> eighths: array<f32, 8>;

fn reduce_sum(thread: u32, value: f32) -> f32 {
    reduced[thread] = value;
    workgroupBarrier();
    if thread < 8u { eighths[thread] = sum_of_eight(thread); }
    workgroupBarrier();
    return ((eighths[0] + eighths[4]) + (eighths[2] + eighths[6])) + ((eighths[1] + eighths[5]) + (eighths[3] + eighths[7]));
}

fn sum_of_eight(at: u32) -> f32 {
    if INVOCATIONS == 8u { return reduced[at]; }
    return sum_of_four(at) + sum_of_four(at + 8u);
}

fn sum_of_four(at: u32) -> f32 {
    return (reduced[at] + reduced[at + 32u]) + (reduced[at + 16u] + reduced[at + 48u]);
}

// Two sums in the time of one.
var<workgroup> reduced_pairs: array<vec2<f32>, 64>;
var<workgroup> eighths_of_pairs: array<vec2<f32>, 8>;

fn reduce_sums(thread: u32, values: vec2<f32>) -> vec2<f32> {
    reduced_pairs[thread] = values;
    workgroupBarrier();
    if thread < 8u { eighths_of_pairs[thread] = sums_of_eight(thread); }
    workgroupBarrier();
    let first = (eighths_of_pairs[0] + eighths_of_pairs[4]) + (eighths_of_pairs[2] + eighths_of_pairs[6]);
    return first + ((eighths_of_pairs[1] + eighths_of_pairs[5]) + (eighths_of_pairs[3] + eighths_of_pairs[7]));
}

fn sums_of_eight(at: u32) -> vec2<f32> {
    if INVOCATIONS == 8u { return reduced_pairs[at]; }
    return sums_of_four(at) + sums_of_four(at + 8u);
}

fn sums_of_four(at: u32) -> vec2<f32> {
    return (reduced_pairs[at] + reduced_pairs[at + 32u]) + (reduced_pairs[at + 16u] + reduced_pairs[at + 48u]);
}
