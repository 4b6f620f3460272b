
// Sums over the channels of 16 neighbouring positions, which the 256 invocations of a workgroup share: those
// of a number that ends in the same four bits have one position, and each takes every 16th of its channels.
// As a tree and so always in the same order. Every invocation must call it, and gets the sum of its position.

const POSITIONS: u32 = 16u;
const LANES: u32 = 16u;
// An invocation adds up the channels of one block after the other, 16 to a block, so that no sum is long
// enough to lose digits.
const CHANNEL_BLOCK: u32 = 256u;

var<workgroup> lanes: array<f32, 256>;

fn lanes_sum(thread: u32, value: f32) -> f32 {
    lanes[thread] = value;
    for (var half = 128u; half >= POSITIONS; half /= 2u) {
        workgroupBarrier();
        if thread < half { lanes[thread] += lanes[thread + half]; }
    }
    workgroupBarrier();
    let result = lanes[thread % POSITIONS];
    workgroupBarrier(); // nobody writes the next values before all have read this one
    return result;
}
