// As many multiply-adds as the device can make: twelve chains that do not depend on each other, in
// registers. No model uses this kernel; `Gpu::peaks` times it.

@group(0) @binding(0) var<storage, read_write> output: array<f32>;
@group(0) @binding(1) var<uniform> params: Params;

// x = factor * x + addend stays between where it begins and addend / (1 - factor).
struct Params {
    factor: f32,
    addend: f32,
}

const TURNS: u32 = 256u;

@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) thread: u32) {
    let f = vec4(params.factor);
    let g = vec4(params.addend);
    var a = vec4(1.0, 1.1, 1.2, 1.3) + f32(thread) * 0.001;
    var b = a + 0.1;
    var c = a + 0.2;
    for (var turn = 0u; turn < TURNS; turn++) {
        a = fma(a, f, g); b = fma(b, f, g); c = fma(c, f, g);
        a = fma(a, f, g); b = fma(b, f, g); c = fma(c, f, g);
        a = fma(a, f, g); b = fma(b, f, g); c = fma(c, f, g);
        a = fma(a, f, g); b = fma(b, f, g); c = fma(c, f, g);
        a = fma(a, f, g); b = fma(b, f, g); c = fma(c, f, g);
        a = fma(a, f, g); b = fma(b, f, g); c = fma(c, f, g);
        a = fma(a, f, g); b = fma(b, f, g); c = fma(c, f, g);
        a = fma(a, f, g); b = fma(b, f, g); c = fma(c, f, g);
    }
    // Never negative, but no compiler knows that: every chain is needed, and nothing is written.
    let sum = dot(a + b + c, vec4(1.0));
    if sum < 0.0 {
        output[0] = sum;
    }
}
