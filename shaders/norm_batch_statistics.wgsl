// Mean and inverse standard deviation of each channel over the batch, and the running estimates of mean
// and variance. A workgroup per channel; or, with SPLIT, per channel and part of its values, and
// norm_batch_total.wgsl makes one of the parts.

@group(0) @binding(0) var<storage, read> input: array<vec4<Input>>; // (N, C, plane)
// (C, 2): mean, 1 / deviation; with SPLIT (parts, C, 2): mean, sum of the squared differences from it
@group(0) @binding(1) var<storage, read_write> statistics: array<f32>;
@group(0) @binding(2) var<storage, read_write> running_mean: array<f32>;     // (C)
@group(0) @binding(3) var<storage, read_write> running_variance: array<f32>; // (C)
@group(0) @binding(4) var<storage, read_write> batches: array<f32>;          // (), not written
@group(0) @binding(5) var<uniform> params: Params;

override SPLIT: bool = false;

@compute @workgroup_size(INVOCATIONS)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let slot = flat_group(group); // part * channels + channel
    let channel = slot % params.channels;
    if slot / params.channels >= params.parts { return; }
    let places = params.batch * params.plane;
    let part = part_of(places, params.parts, slot / params.channels);
    let found = moments(thread, channel, part.x, part.y, params.plane);
    if thread == 0u {
        if SPLIT {
            statistics[2u * slot] = found.mean;
            statistics[2u * slot + 1u] = found.squares;
        } else {
            store_statistics(channel, found.mean, found.squares / values_in(places));
        }
    }
}

fn load_values(channel: u32, place: Place) -> vec4<f32> {
    let at = index_of(place, channel, params.channels, params.plane);
    if PLANE_VEC4 { return vec4<f32>(input[at]); }
    return for_each(f32(input[at / 4u][at % 4u]));
}
