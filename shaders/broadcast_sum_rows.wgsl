// The gradient of what counts for all positions: the output gradient, times another value where there
// is one, summed over all but the channels; and the sum without that value. A workgroup per channel and
// part of its values; its invocations take every 64th of them each, four at a time where planes consist of
// whole vectors. Where there are several parts, reduce_parts.wgsl adds them.

@group(0) @binding(0) var<storage, read> gradient_output: array<vec4<f32>>; // (N, C, plane)
@group(0) @binding(1) var<storage, read> other: array<vec4<Other>>;         // (N, C, plane), or (C / sharing, plane)
@group(0) @binding(2) var<storage, read> saved: array<Saved>;               // (C)
@group(0) @binding(3) var<storage, read_write> output: array<Output>;       // (parts, C)
@group(0) @binding(4) var<storage, read_write> plain: array<f32>;           // (parts, C)
@group(0) @binding(5) var<uniform> params: Params;

struct Params {
    batch: u32,
    channels: u32,
    plane: u32, // in vectors of four with PLANE_VEC4
    parts: u32,
    sharing: u32, // channels that have a row of the other value in common
}

// Whether there is another value: 0, or 1 where it lies as the gradient, or 2 where channels share rows
// of it.
override OTHER: u32 = 0u;
override HAS_PLAIN: bool = false;
override PLANE_VEC4: bool = false;

// The gradient times the other value, and the gradient, of one element or of four.
fn terms(channel: u32, at: u32, position: u32) -> vec2<f32> {
    var index = at;
    if OTHER == 2u { index = channel / params.sharing * params.plane + position; }
    if PLANE_VEC4 {
        let gradient = gradient_output[at];
        let sum = dot(gradient, vec4(1.0));
        if OTHER == 0u { return vec2(sum); }
        return vec2(dot(gradient, vec4<f32>(other[index])), sum);
    }
    let gradient = gradient_output[at / 4u][at % 4u];
    if OTHER == 0u { return vec2(gradient); }
    return vec2(gradient * f32(other[index / 4u][index % 4u]), gradient);
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let slot = flat_group(group); // part * channels + channel
    let channel = slot % params.channels;
    let part = slot / params.channels;
    if part >= params.parts { return; }
    let range = part_of(params.batch * params.plane, params.parts, part);
    var sums = vec2<f32>();
    for (var block = range.x + thread; block < range.y; block += BLOCK) {
        let end = min(block + BLOCK, range.y);
        var block_sums = vec2<f32>();
        for (var i = block; i < end; i += 64u) {
            let position = i % params.plane;
            let at = (i / params.plane * params.channels + channel) * params.plane + position;
            block_sums += terms(channel, at, position);
        }
        sums += block_sums;
    }
    let total = reduce_sum(thread, sums.x);
    if thread == 0u { store(slot, total); }
    if HAS_PLAIN {
        let total = reduce_sum(thread, sums.y);
        if thread == 0u { plain[slot] = total; }
    }
}
