// Channels in another order, four elements to an invocation: each the sum of those of the input that a
// list names, in its order, or the one that a shuffle of groups puts there.

@group(0) @binding(0) var<storage, read> input: array<vec4<Input>>;         // (N, in_channels, plane)
@group(0) @binding(1) var<storage, read> lists: array<u32>;                 // where each channel's begins, in this
@group(0) @binding(2) var<storage, read> saved: array<vec4<Saved>>;         // (N, channels, plane)
@group(0) @binding(3) var<storage, read_write> output: array<vec4<Output>>; // (N, channels, plane)
@group(0) @binding(4) var<uniform> params: Params;

struct Params {
    len: u32, // elements of the output
    in_channels: u32,
    channels: u32,
    plane: u32,
    groups: u32, // of the shuffle
}

override SHUFFLE: bool = false;
// Whether planes consist of whole vectors.
override PLANE_VEC4: bool = false;

struct Place {
    image: u32,
    channel: u32,
    position: u32,
}

// Of an element. What fills up the last vector takes the last one's.
fn place(element: u32) -> Place {
    let at = min(element, params.len - 1u);
    let row = at / params.plane;
    return Place(row / params.channels, row % params.channels, at % params.plane);
}

// Where the input's element for it lies, in another channel.
fn source(at: Place, channel: u32) -> u32 {
    return (at.image * params.in_channels + channel) * params.plane + at.position;
}

// The channels as a matrix (groups, channels / groups), transposed.
fn shuffled(channel: u32) -> u32 {
    return channel % params.groups * (params.channels / params.groups) + channel / params.groups;
}

fn one(i: u32) -> f32 { return f32(input[i / 4u][i % 4u]); }

fn value(element: u32) -> f32 {
    let at = place(element);
    if SHUFFLE { return one(source(at, shuffled(at.channel))); }
    let begin = lists[at.channel];
    let end = lists[at.channel + 1u];
    if begin == end { return 0.0; }
    var sum = one(source(at, lists[begin]));
    for (var i = begin + 1u; i < end; i++) { sum += one(source(at, lists[i])); }
    return sum;
}

fn value4(element: u32) -> vec4<f32> {
    let at = place(element);
    if SHUFFLE { return vec4<f32>(input[source(at, shuffled(at.channel)) / 4u]); }
    let begin = lists[at.channel];
    let end = lists[at.channel + 1u];
    if begin == end { return vec4<f32>(); }
    var sum = vec4<f32>(input[source(at, lists[begin]) / 4u]);
    for (var i = begin + 1u; i < end; i++) { sum += vec4<f32>(input[source(at, lists[i]) / 4u]); }
    return sum;
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let at = flat_index(group, 64u, thread);
    if at >= (params.len + 3u) / 4u { return; }
    if PLANE_VEC4 {
        store4(at, value4(4u * at));
    } else {
        store4(at, vec4(value(4u * at), value(4u * at + 1u), value(4u * at + 2u), value(4u * at + 3u)));
    }
}
