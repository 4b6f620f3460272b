// The weight gradient of a convolution by Fourier transforms, from its sums at the frequencies. What is not finite in it is
// left to conv2d_fft_weight_again.wgsl.
//
// Grid   x: ceil(I / 4); y: O; z: the parts of the filter

@group(0) @binding(0) var<storage, read> sums: array<vec4<f32>>;                 // (part, O, ceil(I / 4), 2048)
@group(0) @binding(1) var<storage, read> twiddles: array<vec2<f32>>;             // (256)
@group(0) @binding(2) var<storage, read_write> gradient_weight: array<f32>;      // (O, I, KH, KW)
@group(0) @binding(3) var<uniform> params: Params;

alias Source = u32;

fn point(at: u32, n: u32) -> vec4<f32> {
    return sums[at + n];
}

fn store_taps(filters: Filters, n: u32, swapped: vec4<f32>) {
    let tap = tap_of(filters, n, params.dilation_height, params.dilation_width);
    if !tap.there { return; }
    let values = SCALE * swapped.yxwz;
    gradient_weight[tap.at] = values.x;
    if filters.channels > 1u { gradient_weight[tap.at + filter_len()] = values.y; }
    if filters.channels > 2u { gradient_weight[tap.at + 2u * filter_len()] = values.z; }
    if filters.channels > 3u { gradient_weight[tap.at + 3u * filter_len()] = values.w; }
}

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let quads = (params.in_channels + 3u) / 4u;
    let rows = params.groups * params.out_channels;
    let filters = filters_of(group.x, group.y, group.z);
    let at = ((group.z * rows + group.y) * quads + group.x) * POINTS;
    let r = transformed(block_of(at, thread), thread);
    store_taps(filters, thread, r.v0);
    store_taps(filters, thread + 256u, r.v1);
    store_taps(filters, thread + 512u, r.v2);
    store_taps(filters, thread + 768u, r.v3);
    store_taps(filters, thread + 1024u, r.v4);
    store_taps(filters, thread + 1280u, r.v5);
    store_taps(filters, thread + 1536u, r.v6);
    store_taps(filters, thread + 1792u, r.v7);
}
