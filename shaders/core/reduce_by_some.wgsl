
// Of a workgroup: 64, or 8 where those are a subgroup of a software adapter. There the invocations of a larger
// workgroup take turns, and each barrier stops all of them.
override INVOCATIONS: u32 = 64u;

// Values of a block, of which each invocation adds up 16.
fn block_len() -> u32 {
    return 16u * INVOCATIONS;
}
