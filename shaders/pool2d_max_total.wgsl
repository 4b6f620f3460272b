// The maximum of each window, or a function of it, and its place, from those of parts of the window. A
// workgroup per window.

@group(0) @binding(0) var<storage, read> part_value: array<f32>;      // (parts, windows)
@group(0) @binding(1) var<storage, read> part_place: array<u32>;      // (parts, windows)
@group(0) @binding(2) var<storage, read_write> output: array<Output>; // (windows)
@group(0) @binding(3) var<storage, read_write> argmax: array<u32>;    // (windows)
@group(0) @binding(4) var<uniform> params: Params;

struct Params {
    windows: u32,
    parts: u32,
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let window = flat_group(group);
    if window >= params.windows { return; }
    var best = Best(0.0, NOWHERE);
    for (var part = thread; part < params.parts; part += 64u) {
        let at = part * params.windows + window;
        best = better(best, Best(part_value[at], part_place[at]));
    }
    best = reduce_best(thread, best);
    if thread == 0u {
        output[window] = Output(activated(window, best.value));
        argmax[window] = best.place;
    }
}
