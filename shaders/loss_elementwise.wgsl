// Losses that are a sum over elements, and their gradients. An invocation takes every 64th of its
// workgroup's elements. With d = x - t:
//   SQUARED    d^2                                              gradient = scale * 2 d
//   BINARY     softplus(x) - t x                                         = scale * (sigmoid(x) - t)
//     weighted w (p t softplus(-x) + (1 - t) softplus(x))                = scale * w (q sigmoid(x) - p t)
//   ABSOLUTE   |d|                                                       = scale * sign(d)
//   SMOOTH     d^2 / (2 BOUND) where |d| < BOUND, else |d| - BOUND / 2   = scale * d / BOUND, or its sign
//   HUBER      d^2 / 2 where |d| <= BOUND, else BOUND (|d| - BOUND / 2)  = scale * d, or BOUND sign(d)
//   DIVERGENCE t (log(t) - x), 0 where t is 0                            = scale * -t
// with q = 1 + (p - 1) t. Each workgroup adds up its elements' losses.

@group(0) @binding(0) var<storage, read> input: array<f32>;              // (len)
@group(0) @binding(1) var<storage, read> wanted: array<f32>;             // (len)
@group(0) @binding(2) var<storage, read> weights: array<f32>;            // (positive_extent + weight_extent)
@group(0) @binding(3) var<storage, read_write> partial_loss: array<f32>; // (workgroups)
@group(0) @binding(4) var<storage, read_write> gradient: array<f32>;     // (len)
@group(0) @binding(5) var<uniform> params: Params;

struct Params {
    len: u32,
    turns: u32, // elements of an invocation
    scale: f32,
    outputs: u32, // of an example
    // The p and w of element e of an example are those with the number e / inner % extent.
    positive_extent: u32,
    positive_inner: u32,
    weight_extent: u32,
    weight_inner: u32,
}

override KIND: u32 = 0u;
override HAS_WEIGHTS: bool = false;
override BOUND: f32 = 1.0;

const SQUARED: u32 = 0u;
const BINARY: u32 = 1u;
const ABSOLUTE: u32 = 2u;
const SMOOTH: u32 = 3u;
const HUBER: u32 = 4u;
const DIVERGENCE: u32 = 5u;

const SMALLEST_NORMAL: f32 = 1.17549435e-38;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let begin = flat_group(group) * 64u * params.turns;
    let end = min(begin + 64u * params.turns, params.len);
    var loss = 0.0;
    for (var at = begin + thread; at < end; at += 64u) {
        let result = of_element(at, input[at], wanted[at]);
        loss += result.x;
        gradient[at] = result.y;
    }
    let sum = reduce_sum(thread, loss);
    if thread == 0u && begin < params.len { partial_loss[flat_group(group)] = sum; }
}

// An element's loss and gradient.
fn of_element(at: u32, x: f32, t: f32) -> vec2<f32> {
    let d = x - t;
    // No switch: FXC finds that one which returns in every case may end without a value.
    if KIND == BINARY { return binary(at, x, t); }
    if KIND == ABSOLUTE { return vec2(abs(d), params.scale * sign_of(x, t)); }
    if KIND == SMOOTH {
        if abs(d) >= BOUND && is_number(d) { return vec2(abs(d) - 0.5 * BOUND, params.scale * sign_of(x, t)); }
        return vec2(0.5 * d * d / BOUND, params.scale * (d / BOUND));
    }
    if KIND == HUBER {
        if abs(d) > BOUND && is_number(d) {
            return vec2(BOUND * (abs(d) - 0.5 * BOUND), params.scale * (BOUND * sign_of(x, t)));
        }
        return vec2(0.5 * d * d, params.scale * d);
    }
    if KIND == DIVERGENCE { return vec2(entropy(t) - t * x, params.scale * -t); }
    return vec2(d * d, params.scale * 2.0 * d);
}

fn binary(at: u32, x: f32, t: f32) -> vec2<f32> {
    let e = exponential(-abs(x));
    let sigmoid = select(e, 1.0, x >= 0.0) / (1.0 + e);
    if !HAS_WEIGHTS {
        let loss = select(-x * t, (1.0 - t) * x, x > 0.0) + logarithm(1.0 + e);
        return vec2(but_for_infinity(x, loss), params.scale * (sigmoid - t));
    }
    let element = at % params.outputs;
    let p = weights[element / params.positive_inner % params.positive_extent];
    let place = element / params.weight_inner % params.weight_extent;
    let w = weights[params.positive_extent + place];
    let q = 1.0 + (p - 1.0) * t; // the factor of softplus(-x), as which softplus(x) is but for x
    let loss = select(-p * t * x, (1.0 - t) * x, x > 0.0) + q * logarithm(1.0 + e);
    return vec2(w * but_for_infinity(x, loss), params.scale * w * (q * sigmoid - p * t));
}

// NaN at minus infinity, since PyTorch adds minus infinity and infinity up there.
fn but_for_infinity(x: f32, loss: f32) -> f32 {
    let bits = bitcast<u32>(x);
    return select(loss, bitcast<f32>(bits | 0x7fc00000u), bits == 0xff800000u);
}

// 0 where they are equal, and where one of them is NaN. Their difference may be too small to be seen.
fn sign_of(x: f32, t: f32) -> f32 {
    let sign = select(select(0.0, -1.0, x < t), 1.0, x > t);
    return select(0.0, sign, is_number(x) && is_number(t));
}

// t * log(t): NaN below 0, and nothing for numbers that are too small for drivers' logarithms.
fn entropy(t: f32) -> f32 {
    if t < 0.0 { return bitcast<f32>(bitcast<u32>(t) | 0x7fc00000u); }
    return select(t * logarithm(t), 0.0, t < SMALLEST_NORMAL && is_number(t));
}
