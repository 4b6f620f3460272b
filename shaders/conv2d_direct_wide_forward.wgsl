// Convolution with few taps and many filters, the first layer of a network above all: an invocation
// computes one pixel of 16 output channels, so that each input element that it loads serves 16
// multiplications. The filters of the 16 channels are in workgroup memory.

@group(0) @binding(0) var<storage, read> input: array<Input>;         // (N, C, H, W)
@group(0) @binding(1) var<storage, read> weight: array<Weight>;       // (O, C / groups, KH, KW)
@group(0) @binding(2) var<storage, read> bias: array<f32>;            // (O)
@group(0) @binding(3) var<storage, read> saved: array<Saved>;         // (N, O, OH, OW)
@group(0) @binding(4) var<storage, read_write> output: array<Output>; // (N, O, OH, OW)
@group(0) @binding(5) var<uniform> params: Params;

override HAS_BIAS: bool = false;

override ROOM: u32 = 512u; // of 128 taps, or fewer

var<workgroup> filters: array<vec4<f32>, ROOM>; // (taps, 16 channels)

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

// Grid   x, y: blocks of 64 pixels of all images, folded; z: blocks of 16 channels of all groups
@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let blocks = (params.out_channels + 15u) / 16u;
    let group = workgroup.z / blocks;
    let first = workgroup.z % blocks * 16u;
    let taps = params.in_channels * KERNEL_H * KERNEL_W;
    for (var i = thread; i < 4u * taps; i += 64u) {
        filters[i] = load_filters(group, first + i % 4u * 4u, i / 4u, taps);
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
    let in_channels = loop_bound(params.in_channels, workgroup);
    for (var c = 0u; c < in_channels; c++) {
        let plane = (n * params.groups + group) * params.in_channels + c;
        for (var ky = 0u; ky < KERNEL_H; ky++) {
            let iy = y * STRIDE_H + ky * DILATION_H - PAD_TOP; // wraps to a large number above the plane
            for (var kx = 0u; kx < KERNEL_W; kx++) {
                let ix = x * STRIDE_W + kx * DILATION_W - PAD_LEFT;
                // The padding's zeros are factors too, as in PyTorch.
                var value = 0.0;
                if iy < params.in_height && ix < params.in_width {
                    value = f32(input[(plane * params.in_height + iy) * params.in_width + ix]);
                }
                let tap = 4u * ((c * KERNEL_H + ky) * KERNEL_W + kx);
                c0 += value * filters[tap];
                c1 += value * filters[tap + 1u];
                c2 += value * filters[tap + 2u];
                c3 += value * filters[tap + 3u];
            }
        }
    }

    let area = params.out_height * params.out_width;
    let channel = (n * params.groups + group) * params.out_channels + first;
    let at = channel * area + y * params.out_width + x;
    store_channels(group, first, at, area, c0);
    store_channels(group, first + 4u, at + 4u * area, area, c1);
    store_channels(group, first + 8u, at + 8u * area, area, c2);
    store_channels(group, first + 12u, at + 12u * area, area, c3);
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
