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

// 2048, and 2 for each of the pairs of real signals that a product takes apart.
const SCALE: f32 = 1.0 / 8192.0;

struct Filters { at: u32, channels: u32, y: u32, x: u32 }

// Of four filters, what lies at a point of their block.
fn taps(filters: Filters, n: u32) -> vec4<f32> {
    let point = point_of(n);
    if point.x >= params.reach_height || point.y >= params.reach_width { return vec4(0.0); }
    let y = filters.y + point.x;
    let x = filters.x + point.y;
    let ky = y / DILATION_H;
    let kx = x / DILATION_W;
    let between = ky * DILATION_H != y || kx * DILATION_W != x;
    if between || ky >= params.kernel_height || kx >= params.kernel_width { return vec4(0.0); }
    let filter_len = params.kernel_height * params.kernel_width;
    let at = filters.at + ky * params.kernel_width + kx;
    let last = filters.channels - 1u;
    let all = vec4(
        f32(weight[at]),
        f32(weight[at + min(1u, last) * filter_len]),
        f32(weight[at + min(2u, last) * filter_len]),
        f32(weight[at + min(3u, last) * filter_len]),
    );
    return SCALE * select(vec4(0.0), all, vec4(0u, 1u, 2u, 3u) < vec4(filters.channels));
}

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let quads = (params.in_channels + 3u) / 4u;
    let channel = group.x * 4u;
    let filters = Filters(
        (group.y * params.in_channels + channel) * params.kernel_height * params.kernel_width,
        min(params.in_channels - channel, 4u),
        group.z / params.parts_across * params.reach_height,
        group.z % params.parts_across * params.reach_width,
    );
    let block = Eight(
        taps(filters, thread),
        taps(filters, thread + 256u),
        taps(filters, thread + 512u),
        taps(filters, thread + 768u),
        taps(filters, thread + 1024u),
        taps(filters, thread + 1280u),
        taps(filters, thread + 1536u),
        taps(filters, thread + 1792u),
    );
    let result = transformed(block, thread);
    let at = ((group.z * params.out_channels + group.y) * quads + group.x) * POINTS + thread;
    values[at] = result.v0;
    values[at + 256u] = result.v1;
    values[at + 512u] = result.v2;
    values[at + 768u] = result.v3;
    values[at + 1024u] = result.v4;
    values[at + 1280u] = result.v5;
    values[at + 1536u] = result.v6;
    values[at + 1792u] = result.v7;
}
