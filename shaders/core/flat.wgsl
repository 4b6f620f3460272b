
// The number of this workgroup in a grid that was folded into two dimensions, and of an invocation
// in such a grid. FOLD is the host's `record::FOLD`.
const FOLD: u32 = 32768u;

fn flat_group(group: vec3<u32>) -> u32 {
    return group.y * FOLD + group.x;
}

fn flat_index(group: vec3<u32>, size: u32, thread: u32) -> u32 {
    return flat_group(group) * size + thread;
}

// A loop's bound, as it is. Mesa's llvmpipe compiles a kernel anew, at every dispatch, for each value
// of a uniform that alone bounds a loop; mixing in what only the dispatch knows keeps it from that. And it keeps compilers
// from unrolling a loop of a constant number of turns, where its code is large.
// Bounds are below 2^31, and the numbers of workgroups below 2^16.
fn loop_bound(bound: u32, group: vec3<u32>) -> u32 {
    return min(bound, ~group.z);
}

// The part of so many values, counted from 0, that are split into `parts` of one length: where it begins
// and ends. The last parts may be shorter or empty.
fn part_of(values: u32, parts: u32, part: u32) -> vec2<u32> {
    let length = (values + parts - 1u) / parts;
    let begin = min(part * length, values);
    return vec2(begin, min(begin + length, values));
}
