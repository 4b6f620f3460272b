// Mean pooling over large windows, whole planes among them: a workgroup per window and part of it. Where
// there are several parts, reduce_parts.wgsl adds them.

@group(0) @binding(0) var<storage, read> input: array<Input>;         // (planes, H, W)
@group(0) @binding(1) var<storage, read_write> output: array<Output>; // (parts, planes, OH, OW)
@group(0) @binding(2) var<uniform> params: Params;

struct Params {
    planes: u32,
    in_height: u32,
    in_width: u32,
    out_height: u32,
    out_width: u32,
    parts: u32,
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let slot = flat_group(group); // part * windows + window
    let windows = params.planes * params.out_height * params.out_width;
    if slot / windows >= params.parts { return; }
    let at = slot % windows;
    let row = at / params.out_width;
    let plane = row / params.out_height;
    let window = window_at(row % params.out_height, at % params.out_width);
    let width = max(window.x_end, window.x_begin) - window.x_begin;
    let height = max(window.y_end, window.y_begin) - window.y_begin;
    let part = part_of(width * height, params.parts, slot / windows);
    let first = (plane * params.in_height + window.y_begin) * params.in_width + window.x_begin;
    var sum = 0.0;
    for (var block = part.x + thread; block < part.y; block += BLOCK) {
        let end = min(block + BLOCK, part.y);
        var block_sum = 0.0;
        for (var i = block; i < end; i += 64u) {
            block_sum += f32(input[first + i / width * params.in_width + i % width]);
        }
        sum += block_sum;
    }
    let total = reduce_sum(thread, sum);
    if thread == 0u { output[slot] = Output(activated(slot, total / window.divisor)); }
}
