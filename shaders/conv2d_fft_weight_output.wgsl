// The weight gradient of a convolution by Fourier transforms, from its sums at the frequencies. What is not finite in it is
// left to conv2d_fft_weight_again.wgsl.
//
// Grid   x: ceil(I / 4); y: O; z: the parts of the filter

@group(0) @binding(0) var<storage, read> sums: array<vec4<f32>>;                 // (part, O, ceil(I / 4), 2048)
@group(0) @binding(1) var<storage, read> twiddles: array<vec2<f32>>;             // (256)
@group(0) @binding(2) var<storage, read_write> gradient_weight: array<f32>;      // (O, I, KH, KW)
@group(0) @binding(3) var<uniform> params: Params;

// What the transforms there and back leave to divide by: 2048, and 2 for each of the pairs of real signals taken apart.
const SCALE: f32 = 1.0 / 8192.0;

struct Filters { at: u32, channels: u32, y: u32, x: u32 }

fn store_taps(filters: Filters, n: u32, swapped: vec4<f32>) {
    let point = point_of(n);
    if point.x >= params.reach_height || point.y >= params.reach_width { return; }
    let y = filters.y + point.x;
    let x = filters.x + point.y;
    let ky = y / params.dilation_height;
    let kx = x / params.dilation_width;
    let between = ky * params.dilation_height != y || kx * params.dilation_width != x;
    if between || ky >= params.kernel_height || kx >= params.kernel_width { return; }
    let values = SCALE * swapped.yxwz;
    let filter_len = params.kernel_height * params.kernel_width;
    let at = filters.at + ky * params.kernel_width + kx;
    gradient_weight[at] = values.x;
    if filters.channels > 1u { gradient_weight[at + filter_len] = values.y; }
    if filters.channels > 2u { gradient_weight[at + 2u * filter_len] = values.z; }
    if filters.channels > 3u { gradient_weight[at + 3u * filter_len] = values.w; }
}

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let quads = (params.in_channels + 3u) / 4u;
    let rows = params.groups * params.out_channels;
    let channel = group.x * 4u;
    let filters = Filters(
        (group.y * params.in_channels + channel) * params.kernel_height * params.kernel_width,
        min(params.in_channels - channel, 4u),
        group.z / params.parts_across * params.reach_height,
        group.z % params.parts_across * params.reach_width,
    );
    let at = ((group.z * rows + group.y) * quads + group.x) * POINTS + thread;
    let block = Eight(
        sums[at],
        sums[at + 256u],
        sums[at + 512u],
        sums[at + 768u],
        sums[at + 1024u],
        sums[at + 1280u],
        sums[at + 1536u],
        sums[at + 1792u],
    );
    let r = transformed(block, thread);
    store_taps(filters, thread, r.v0);
    store_taps(filters, thread + 256u, r.v1);
    store_taps(filters, thread + 512u, r.v2);
    store_taps(filters, thread + 768u, r.v3);
    store_taps(filters, thread + 1024u, r.v4);
    store_taps(filters, thread + 1280u, r.v5);
    store_taps(filters, thread + 1536u, r.v6);
    store_taps(filters, thread + 1792u, r.v7);
}
