
// The sum of a value over the 64 invocations of a workgroup, as a tree, always in the same order.
// Every invocation must call it.

var<workgroup> workgroup_sums: array<f32, 64>;

fn workgroup_sum(thread: u32, value: f32) -> f32 {
    workgroupBarrier(); // the last sum may still be read
    workgroup_sums[thread] = value;
    for (var half = 32u; half > 0u; half /= 2u) {
        workgroupBarrier();
        if thread < half { workgroup_sums[thread] += workgroup_sums[thread + half]; }
    }
    workgroupBarrier();
    return workgroup_sums[0];
}
