// The filters (O, I, KH, KW) of a convolution by Fourier transforms at their frequencies, four channels of the input a block
// as in conv2d_fft_input.wgsl, times what the transforms there and back leave to divide by.
//
// Grid   x: ceil(I / 4); y: O; z: the parts of the filter

@group(0) @binding(0) var<storage, read> weight: array<Weight>;          // (O, I, KH, KW)
@group(0) @binding(1) var<storage, read_write> values: array<vec4<f32>>; // (part, O, ceil(I / 4), 2048)
@group(0) @binding(2) var<storage, read> twiddles: array<vec2<f32>>;     // (256)

// Channels are those that a filter has.
struct Params {
    in_channels: u32,
    out_channels: u32,
    kernel_height: u32,
    kernel_width: u32,
    reach_height: u32, // taps of a part, gaps counted
    reach_width: u32,
    parts_across: u32,
}
@group(0) @binding(3) var<uniform> params: Params;

override DILATION_H: u32 = 1u;
override DILATION_W: u32 = 1u;

alias Source = Filters;

// Of four filters, what lies at a point of their block.
fn point(filters: Filters, n: u32) -> vec4<f32> {
    let tap = tap_of(filters, n, DILATION_H, DILATION_W);
    if !tap.there { return vec4(0.0); }
    let last = filters.channels - 1u;
    let all = vec4(
        f32(weight[tap.at]),
        f32(weight[tap.at + min(1u, last) * filter_len()]),
        f32(weight[tap.at + min(2u, last) * filter_len()]),
        f32(weight[tap.at + min(3u, last) * filter_len()]),
    );
    return SCALE * select(vec4(0.0), all, vec4(0u, 1u, 2u, 3u) < vec4(filters.channels));
}

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let quads = (params.in_channels + 3u) / 4u;
    let filters = filters_of(group.x, group.y, group.z);
    let at = ((group.z * params.out_channels + group.y) * quads + group.x) * POINTS + thread;
    store_block(at, transformed(block_of(filters, thread), thread));
}
