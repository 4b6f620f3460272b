// Each plane with values around it, an invocation per place.

@group(0) @binding(0) var<storage, read> input: array<Input>;         // (planes, H, W)
@group(0) @binding(1) var<storage, read> saved: array<Saved>;         // as the output
@group(0) @binding(2) var<storage, read_write> output: array<Output>; // (planes, OH, OW)
@group(0) @binding(3) var<uniform> params: Params;

struct Params {
    planes: u32,
    in_height: u32,
    in_width: u32,
    out_height: u32,
    out_width: u32,
    top: u32,
    left: u32,
}

// Where along an axis the value at a place comes from; beyond the axis for a zero.
fn source_of(place: u32, before: u32, extent: u32) -> u32 {
    let at = i32(place) - i32(before);
    let last = i32(extent) - 1;
    if at >= 0 && at <= last { return u32(at); }
    switch MODE {
        case REFLECT: { return u32(select(2 * last - at, -at, at < 0)); }
        case REPLICATE: { return u32(clamp(at, 0, last)); }
        case CIRCULAR: { return u32(select(at - last - 1, at + last + 1, at < 0)); }
        default: { return extent; }
    }
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let at = flat_index(group, 64u, thread);
    let row = at / params.out_width;
    let plane = row / params.out_height;
    if plane >= params.planes { return; }
    let y = source_of(row % params.out_height, params.top, params.in_height);
    let x = source_of(at % params.out_width, params.left, params.in_width);
    var value = 0.0;
    if y < params.in_height && x < params.in_width {
        value = f32(input[(plane * params.in_height + y) * params.in_width + x]);
    }
    store(at, value);
}
