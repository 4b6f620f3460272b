
// The number of this workgroup in a grid that was folded into two dimensions, and of an invocation
// in such a grid. FOLD is the host's `record::FOLD`.
const FOLD: u32 = 32768u;

fn flat_group(group: vec3<u32>) -> u32 {
    return group.y * FOLD + group.x;
}

fn flat_index(group: vec3<u32>, size: u32, thread: u32) -> u32 {
    return flat_group(group) * size + thread;
}
