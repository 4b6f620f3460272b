// Max-pooling over large windows, whole planes among them: a workgroup per window and part of it. Where
// there are several parts, pool2d_max_total.wgsl takes the best of them.

@group(0) @binding(0) var<storage, read> input: array<Input>;         // (planes, H, W)
@group(0) @binding(1) var<storage, read_write> output: array<Output>; // (parts, planes, OH, OW)
@group(0) @binding(2) var<storage, read_write> argmax: array<u32>;    // (parts, planes, OH, OW)
@group(0) @binding(3) var<uniform> params: Params;

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
    let top = i32(row % params.out_height * STRIDE_H) - i32(PAD_TOP);
    let left = i32(at % params.out_width * STRIDE_W) - i32(PAD_LEFT);
    let part = part_of(KERNEL_H * KERNEL_W, params.parts, slot / windows);
    var best = Best(0.0, NOWHERE);
    for (var i = part.x + thread; i < part.y; i += 64u) {
        // Above and left of the plane the casts wrap to large numbers.
        let y = u32(top + i32(i / KERNEL_W * DILATION_H));
        let x = u32(left + i32(i % KERNEL_W * DILATION_W));
        if y < params.in_height && x < params.in_width {
            let place = y * params.in_width + x;
            let value = f32(input[plane * params.in_height * params.in_width + place]);
            best = better(best, Best(value, place));
        }
    }
    best = reduce_best(thread, best);
    if thread == 0u {
        output[slot] = Output(activated(slot, best.value));
        argmax[slot] = best.place;
    }
}
