// Max-pooling: the maximum of each window, or a function of it, and where in the input plane it is.
// The first maximum in row-major order wins; padding never does; a NaN wins over everything, and
// the last NaN of a window gives the place.
//
// An invocation computes a strip: four neighbouring outputs of one row, one per vector component.

@group(0) @binding(0) var<storage, read> input: array<vec4<Input>>; // (planes, H, W)
// Scalars, since a strip may end within a vector that another invocation writes the rest of.
@group(0) @binding(1) var<storage, read_write> output: array<Output>; // (planes, OH, OW)
@group(0) @binding(2) var<storage, read_write> argmax: array<u32>;    // (planes, OH, OW)
@group(0) @binding(3) var<uniform> params: Params;

struct Params {
    planes: u32,
    in_height: u32,
    in_width: u32,
    out_height: u32,
    out_width: u32,
}

// Windows two wide side by side, rows of input and output in whole vectors: a strip reads two
// vectors of each row.
override PAIRS: bool = false;

const NOWHERE: u32 = 0xffffffffu;

struct Best {
    value: vec4<f32>,
    place: vec4<u32>,
}

fn consider(best: Best, value: vec4<f32>, place: vec4<u32>, inside: vec4<bool>) -> Best {
    let is_nan = (bitcast<vec4<u32>>(value) & vec4(0x7fffffffu)) > vec4(0x7f800000u);
    let wins = inside & ((value > best.value) | is_nan | (best.place == vec4(NOWHERE)));
    return Best(select(best.value, value, wins), select(best.place, place, wins));
}

fn load(at: u32, inside: bool) -> f32 {
    var v = 0.0;
    if inside { v = f32(input[at / 4u][at % 4u]); }
    return v;
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let strips = (params.out_width + 3u) / 4u;
    let strip = flat_index(group, 64u, thread);
    let out_row = strip / strips; // plane * out_height + y
    let out_x = (strip - out_row * strips) * 4u;
    let plane = out_row / params.out_height;
    if plane >= params.planes { return; }
    let left = vec4<i32>((vec4(out_x) + vec4(0u, 1u, 2u, 3u)) * STRIDE_W) - i32(PAD_LEFT);
    let top = i32((out_row - plane * params.out_height) * STRIDE_H) - i32(PAD_TOP);
    let width = i32(params.in_width);

    // WGSL has no literal for negative infinity and refuses a constant one: a uniform is mixed in.
    let minus_infinity = bitcast<f32>(0xff800000u | (params.planes & 0u));
    var best = Best(vec4(minus_infinity), vec4(NOWHERE));
    for (var ky = 0; ky < i32(KERNEL_H); ky++) {
        let y = top + ky * i32(DILATION_H);
        if y >= 0 && y < i32(params.in_height) {
            let row = plane * params.in_height * params.in_width + u32(y * width);
            let place = vec4<u32>(y * width + left);
            if PAIRS {
                let at = (row + out_x * 2u) / 4u;
                let a = vec4<f32>(input[at]);
                let b = vec4<f32>(input[at + 1u]);
                best = consider(best, vec4(a.xz, b.xz), place, vec4(true));
                best = consider(best, vec4(a.yw, b.yw), place + 1u, vec4(true));
            } else {
                for (var kx = 0; kx < i32(KERNEL_W); kx++) {
                    let offset = kx * i32(DILATION_W);
                    let x = left + offset;
                    let inside = (x >= vec4<i32>()) & (x < vec4(width));
                    let at = row + vec4<u32>(x);
                    let value = vec4(
                        load(at.x, inside.x),
                        load(at.y, inside.y),
                        load(at.z, inside.z),
                        load(at.w, inside.w),
                    );
                    best = consider(best, value, place + u32(offset), inside);
                }
            }
        }
    }

    let at = out_row * params.out_width + out_x;
    let left_over = params.out_width - out_x;
    write(at, best.value.x, best.place.x);
    if left_over > 1u { write(at + 1u, best.value.y, best.place.y); }
    if left_over > 2u { write(at + 2u, best.value.z, best.place.z); }
    if left_over > 3u { write(at + 3u, best.value.w, best.place.w); }
}

fn write(at: u32, value: f32, place: u32) {
    output[at] = Output(activated(at, value));
    argmax[at] = place;
}
