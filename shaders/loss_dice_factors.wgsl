// One minus the Dice coefficient from its sums, and what the gradients of its probabilities are made of,
// an invocation per coefficient:
//   loss = 1 - (2 both + smoothing) / (all + smoothing) = (all - 2 both) / (all + smoothing)
//   d loss / d p = factors.x - factors.y * t

@group(0) @binding(0) var<storage, read> sums: array<vec2<f32>>;          // (len): of p * t and of p + t
@group(0) @binding(1) var<storage, read_write> loss: array<f32>;          // (len)
@group(0) @binding(2) var<storage, read_write> factors: array<vec2<f32>>; // (len)
@group(0) @binding(3) var<uniform> params: Params;

struct Params {
    len: u32,
    smoothing: f32,
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let at = flat_index(group, 64u, thread);
    if at >= params.len { return; }
    let both = sums[at].x;
    let below = sums[at].y + params.smoothing;
    loss[at] = (sums[at].y - 2.0 * both) / below;
    factors[at] = vec2((2.0 * both + params.smoothing) / below, 2.0) / below;
}
