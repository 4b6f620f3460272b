// The running estimates of mean and variance after a batch whose own were computed before, here or elsewhere.
// An invocation per channel.

@group(0) @binding(0) var<storage, read> mean: array<f32>;                   // (C)
@group(0) @binding(1) var<storage, read> variance: array<f32>;               // (C), unbiased
@group(0) @binding(2) var<storage, read_write> running_mean: array<f32>;     // (C)
@group(0) @binding(3) var<storage, read_write> running_variance: array<f32>; // (C)
@group(0) @binding(4) var<storage, read_write> batches: array<f32>;          // (), not written
@group(0) @binding(5) var<uniform> params: Params;

struct Params {
    channels: u32,
    momentum: f32,
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let channel = flat_index(group, 64u, thread);
    if channel >= params.channels { return; }
    let share = batch_share();
    running_mean[channel] = folded(running_mean[channel], mean[channel], share);
    running_variance[channel] = folded(running_variance[channel], variance[channel], share);
}
