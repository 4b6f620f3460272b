// Max-pooling: the maximum of each window and where in the input plane it is.
// The first maximum in row-major order wins; padding never does; a NaN wins over everything, and
// the last NaN of a window gives the place. NaN is told by its bits.

@group(0) @binding(0) var<storage, read> input: array<f32>;         // (planes, H, W)
@group(0) @binding(1) var<storage, read_write> output: array<f32>;  // (planes, OH, OW)
@group(0) @binding(2) var<storage, read_write> argmax: array<u32>;  // (planes, OH, OW)
@group(0) @binding(3) var<uniform> params: Params;

struct Params {
    planes: u32,
    in_height: u32,
    in_width: u32,
    out_height: u32,
    out_width: u32,
}

override KERNEL_H: u32 = 1u;
override KERNEL_W: u32 = 1u;
override STRIDE_H: u32 = 1u;
override STRIDE_W: u32 = 1u;
override PAD_TOP: u32 = 0u;
override PAD_LEFT: u32 = 0u;
override DILATION_H: u32 = 1u;
override DILATION_W: u32 = 1u;

const NEGATIVE_INFINITY_BITS: u32 = 0xff800000u;
const NOWHERE: u32 = 0xffffffffu;

fn is_nan_bits(bits: u32) -> bool {
    return (bits & 0x7fffffffu) > 0x7f800000u;
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let at = flat_index(group, 64u, thread);
    let x = at % params.out_width;
    let row = at / params.out_width;
    let y = row % params.out_height;
    let plane = row / params.out_height;
    if plane >= params.planes { return; }
    let first = plane * params.in_height * params.in_width;

    // The value travels as bits: an infinity or a NaN must come out as it went in.
    var best = NEGATIVE_INFINITY_BITS;
    var place = NOWHERE;
    for (var ky = 0u; ky < KERNEL_H; ky++) {
        let iy = y * STRIDE_H + ky * DILATION_H - PAD_TOP; // wraps to a large number above the plane
        if iy < params.in_height {
            for (var kx = 0u; kx < KERNEL_W; kx++) {
                let ix = x * STRIDE_W + kx * DILATION_W - PAD_LEFT;
                if ix < params.in_width {
                    let here = iy * params.in_width + ix;
                    let value = bitcast<u32>(input[first + here]);
                    let larger = !is_nan_bits(best) && bitcast<f32>(value) > bitcast<f32>(best);
                    if larger || is_nan_bits(value) || place == NOWHERE {
                        best = value;
                        place = here;
                    }
                }
            }
        }
    }
    output[at] = bitcast<f32>(best);
    argmax[at] = place;
}
