// Mean and inverse standard deviation of each channel from those of parts of its values, and the running
// estimates. The squared differences from the parts' means become those from the common one (Chan,
// Golub and LeVeque, 1979). A workgroup per channel.

@group(0) @binding(0) var<storage, read> parts: array<f32>; // (parts, C, 2): mean, squared differences
@group(0) @binding(1) var<storage, read_write> statistics: array<f32>;       // (C, 2): mean, 1 / deviation
@group(0) @binding(2) var<storage, read_write> running_mean: array<f32>;     // (C)
@group(0) @binding(3) var<storage, read_write> running_variance: array<f32>; // (C)
@group(0) @binding(4) var<storage, read_write> batches: array<f32>;          // (), not written
@group(0) @binding(5) var<uniform> params: Params;

// How many values a part has.
fn count_of(part: u32) -> f32 {
    let range = part_of(params.batch * params.plane, params.parts, part);
    return values_in(range.y - range.x);
}

@compute @workgroup_size(INVOCATIONS)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let channel = flat_group(group);
    if channel >= params.channels { return; }
    let all = values_in(params.batch * params.plane);
    var sum = 0.0;
    for (var part = thread; part < params.parts; part += INVOCATIONS) {
        sum += count_of(part) / all * parts[2u * (part * params.channels + channel)];
    }
    let rough = reduce_sum(thread, sum);
    var differences = 0.0;
    var squares = 0.0;
    for (var part = thread; part < params.parts; part += INVOCATIONS) {
        let count = count_of(part);
        if count > 0.0 {
            let at = 2u * (part * params.channels + channel);
            let difference = parts[at] - rough;
            differences += count / all * difference;
            squares += parts[at + 1u] + count * difference * difference;
        }
    }
    let found = reduce_sums(thread, vec2(differences, squares));
    let variance = corrected(found.y / all, found.x * found.x);
    if thread == 0u { store_statistics(channel, rough + found.x, variance); }
}
