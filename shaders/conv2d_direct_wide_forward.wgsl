// Convolution with few taps and many filters, the first layer of a network above all: an invocation
// computes one pixel of 16 or 32 output channels, so that each input element that it loads serves as many
// multiplications. The filters of these channels are in workgroup memory.

@group(0) @binding(0) var<storage, read> input: array<Input>;         // (N, C, H, W)
@group(0) @binding(1) var<storage, read> weight: array<Weight>;       // (O, C / groups, KH, KW)
@group(0) @binding(2) var<storage, read> bias: array<f32>;            // (O)
@group(0) @binding(3) var<storage, read> saved: array<Saved>;         // (N, O, OH, OW)
@group(0) @binding(4) var<storage, read_write> output: array<Output>; // (N, O, OH, OW)
@group(0) @binding(5) var<uniform> params: Params;

override HAS_BIAS: bool = false;

// Quads of channels that an invocation computes: 4, or 8.
override QUADS: u32 = 4u;
override ROOM: u32 = 512u; // of 128 taps of as many, or fewer

var<workgroup> filters: array<vec4<f32>, ROOM>; // (taps, quads of channels)

// The weights of four channels from the `first` of a group on, of one tap; zero beyond the last.
fn load_filters(group: u32, first: u32, tap: u32, taps: u32) -> vec4<f32> {
    return vec4(
        load_filter(group, first, tap, taps),
        load_filter(group, first + 1u, tap, taps),
        load_filter(group, first + 2u, tap, taps),
        load_filter(group, first + 3u, tap, taps),
    );
}

fn load_filter(group: u32, channel: u32, tap: u32, taps: u32) -> f32 {
    if channel >= params.out_channels { return 0.0; }
    return f32(weight[(group * params.out_channels + channel) * taps + tap]);
}

// Grid   x, y: blocks of 64 pixels of all images, folded; z: blocks of 4 QUADS channels of all groups
@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let blocks = (params.out_channels + 4u * QUADS - 1u) / (4u * QUADS);
    let group = workgroup.z / blocks;
    let first = workgroup.z % blocks * 4u * QUADS;
    let taps = params.in_channels * KERNEL_H * KERNEL_W;
    for (var i = thread; i < QUADS * taps; i += 64u) {
        filters[i] = load_filters(group, first + i % QUADS * 4u, i / QUADS, taps);
    }
    workgroupBarrier();

    let pixel = flat_index(workgroup, 64u, thread);
    let x = pixel % params.out_width;
    let row = pixel / params.out_width;
    let y = row % params.out_height;
    let n = row / params.out_height;
    if n >= params.batch { return; }
    var c0 = vec4<f32>();
    var c1 = vec4<f32>();
    var c2 = vec4<f32>();
    var c3 = vec4<f32>();
    var c4 = vec4<f32>();
    var c5 = vec4<f32>();
    var c6 = vec4<f32>();
    var c7 = vec4<f32>();
    // Above and left of the plane these wrap to large numbers.
    let top = y * STRIDE_H - PAD_TOP;
    let left = x * STRIDE_W - PAD_LEFT;
    let plane = params.in_height * params.in_width;
    var first_of_plane = (n * params.groups + group) * params.in_channels * plane;
    let in_channels = loop_bound(params.in_channels, workgroup);
    for (var c = 0u; c < in_channels; c++) {
        // There are no more: so compilers can tell that a tap's place behind the first one does not overflow.
        let weights = min(QUADS * c * KERNEL_H * KERNEL_W, ROOM - 1u);
        for (var ky = 0u; ky < KERNEL_H; ky++) {
            let iy = top + ky * DILATION_H;
            for (var kx = 0u; kx < KERNEL_W; kx++) {
                let ix = left + kx * DILATION_W;
                // The padding's zeros are factors too, as in PyTorch. Without a branch for each element.
                let inside = (iy < params.in_height) & (ix < params.in_width);
                let at = select(0u, first_of_plane + iy * params.in_width + ix, inside);
                let value = select(0.0, f32(input[at]), inside);
                let tap = weights + QUADS * (ky * KERNEL_W + kx);
                c0 += value * filters[tap];
                c1 += value * filters[tap + 1u];
                c2 += value * filters[tap + 2u];
                c3 += value * filters[tap + 3u];
                if QUADS > 4u {
                    c4 += value * filters[tap + 4u];
                    c5 += value * filters[tap + 5u];
                    c6 += value * filters[tap + 6u];
                    c7 += value * filters[tap + 7u];
                }
            }
        }
        first_of_plane += plane;
    }

    let area = params.out_height * params.out_width;
    let channel = (n * params.groups + group) * params.out_channels + first;
    let at = channel * area + y * params.out_width + x;
    store_channels(group, first, at, area, c0);
    store_channels(group, first + 4u, at + 4u * area, area, c1);
    store_channels(group, first + 8u, at + 8u * area, area, c2);
    store_channels(group, first + 12u, at + 12u * area, area, c3);
    if QUADS > 4u {
        store_channels(group, first + 16u, at + 16u * area, area, c4);
        store_channels(group, first + 20u, at + 20u * area, area, c5);
        store_channels(group, first + 24u, at + 24u * area, area, c6);
        store_channels(group, first + 28u, at + 28u * area, area, c7);
    }
}

// A pixel of four channels from the `first` of a group on.
fn store_channels(group: u32, first: u32, at: u32, area: u32, values: vec4<f32>) {
    store_channel(group, first, at, values.x);
    store_channel(group, first + 1u, at + area, values.y);
    store_channel(group, first + 2u, at + 2u * area, values.z);
    store_channel(group, first + 3u, at + 3u * area, values.w);
}

fn store_channel(group: u32, channel: u32, at: u32, value: f32) {
    if channel >= params.out_channels { return; }
    var result = value;
    if HAS_BIAS { result += bias[group * params.out_channels + channel]; }
    store(at, result);
}
