// The maximum of each line and the sum of exp(x - maximum), from those of its parts; and with WEIGHTED the
// mean of the line weighted with its softmax. A workgroup per line.

@group(0) @binding(0) var<storage, read> partial: array<f32>;          // (parts, lines, 3), see softmax_partial.wgsl
@group(0) @binding(1) var<storage, read_write> statistics: array<f32>; // (lines, 2)
@group(0) @binding(2) var<storage, read_write> output: array<Output>;  // (lines)
@group(0) @binding(3) var<uniform> params: Params;

struct Params {
    lines: u32,
    parts: u32,
}

override WEIGHTED: bool = false;

const LOWEST: f32 = -3.4028234e38;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let line = flat_group(group);
    if line >= params.lines { return; }
    var largest = LOWEST;
    for (var part = thread; part < params.parts; part += 64u) {
        largest = max(largest, partial[3u * (part * params.lines + line)]);
    }
    largest = reduce_max(thread, largest);
    var sums = vec2<f32>();
    for (var part = thread; part < params.parts; part += 64u) {
        let at = 3u * (part * params.lines + line);
        sums += exponential(partial[at] - largest) * vec2(partial[at + 1u], partial[at + 2u]);
    }
    let total = reduce_sums(thread, sums);
    if thread == 0u {
        statistics[2u * line] = largest;
        statistics[2u * line + 1u] = total.x;
        if WEIGHTED { output[line] = Output(total.y / total.x); }
    }
}
