// Counts batches, after the running estimates have taken their share of them. One invocation.

@group(0) @binding(0) var<storage, read_write> batches: array<f32>; // ()
@group(0) @binding(1) var<uniform> params: Params;

struct Params {
    seen: u32,
}

@compute @workgroup_size(1)
fn main() {
    batches[0] += f32(params.seen);
}
