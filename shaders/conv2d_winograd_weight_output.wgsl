// The weight gradient of a convolution by Winograd's algorithm, last of four: filters of 3x3, or of 1x3, from their sums at
// the points of core/winograd_points.wgsl. An invocation has that of one channel of the output and one of the input. What is
// not finite in it is left to conv2d_backward_weight_again.wgsl.
//
// Grid   ceil(groups * OC * ceil(IC / 4) * 4 / 64), folded

@group(0) @binding(0) var<storage, read> sums: array<f32>;                  // (points, G * OC, filled up, IC / 4, 4)
@group(0) @binding(1) var<storage, read_write> gradient_weight: array<f32>; // (O, I, taps)
@group(0) @binding(2) var<uniform> params: Params;

struct Three { v0: f32, v1: f32, v2: f32 }

// Three taps of the sums at six points, each a stride after the one before.
fn load_taps(at: u32, stride: u32) -> Three {
    return taps(Six(
        sums[at],
        sums[at + stride],
        sums[at + 2u * stride],
        sums[at + 3u * stride],
        sums[at + 4u * stride],
        sums[at + 5u * stride],
    ));
}

// Of one column of points, of which a row's are a stride apart.
fn load_column(at: u32, stride: u32) -> Three {
    return load_taps(at, 6u * stride);
}

fn store_taps(to: u32, row: Three) {
    gradient_weight[to] = row.v0;
    gradient_weight[to + 1u] = row.v1;
    gradient_weight[to + 2u] = row.v2;
}

// A^T: three taps from their values at the six points.
fn taps(m: Six) -> Three {
    let near = m.v1 + m.v2;
    let far = m.v3 + m.v4;
    return Three(
        m.v0 + near + far,
        HALF_ROOT * (m.v1 - m.v2) + ROOT * (m.v3 - m.v4),
        0.5 * near + 2.0 * far + m.v5,
    );
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let index = flat_index(group, 64u, thread);
    let channels = (params.in_channels + 3u) / 4u * 4u;
    let o = index / channels;
    let channel = index - o * channels;
    if o >= params.groups * params.out_channels || channel >= params.in_channels { return; }
    let channel_group = o / params.out_channels;
    let rows = params.out_quads * 4u;
    let stride = params.groups * rows * channels;
    let at = (channel_group * rows + o - channel_group * params.out_channels) * channels + channel;
    let to = (o * params.in_channels + channel) * taps_of_filter();
    if ONE_ROW {
        store_taps(to, load_taps(at, stride));
        return;
    }
    let c0 = load_column(at, stride);
    let c1 = load_column(at + stride, stride);
    let c2 = load_column(at + 2u * stride, stride);
    let c3 = load_column(at + 3u * stride, stride);
    let c4 = load_column(at + 4u * stride, stride);
    let c5 = load_column(at + 5u * stride, stride);
    let r0 = taps(Six(c0.v0, c1.v0, c2.v0, c3.v0, c4.v0, c5.v0));
    let r1 = taps(Six(c0.v1, c1.v1, c2.v1, c3.v1, c4.v1, c5.v1));
    let r2 = taps(Six(c0.v2, c1.v2, c2.v2, c3.v2, c4.v2, c5.v2));
    store_taps(to, r0);
    store_taps(to + 3u, r1);
    store_taps(to + 6u, r2);
}
