// Dropout: each element is zero with a probability, else scaled up. The same mask serves forward and
// backward: it is a function of seed, step, layer and element, by the counter-based generator
// Philox-4x32-10 (Salmon et al. 2011). Four elements to an invocation: one block of random words. With SPANS
// neighbouring elements have one mask, whose number takes the place of the element's.

@group(0) @binding(0) var<storage, read> input: array<vec4<Input>>;
@group(0) @binding(1) var<storage, read> saved: array<vec4<Saved>>;
@group(0) @binding(2) var<storage, read_write> output: array<vec4<Output>>;
@group(0) @binding(3) var<uniform> params: Params;

struct Params {
    len: u32, // in vectors of four
    threshold: u32, // a word below it drops its element
    scale: f32,
    layer: u32,
    update: u32,
    key_low: u32,
    key_high: u32,
    span: u32, // elements that have one mask, with SPANS
    // The first mask's number among those of the update: its block of four, of 64 bits, and its place in that.
    block_low: u32,
    block_high: u32,
    lane: u32,
}

override SPANS: bool = false;

// The upper half of a 64-bit product, from 16-bit digits.
fn multiply_high(a: u32, b: u32) -> u32 {
    let a0 = a & 0xffffu;
    let a1 = a >> 16u;
    let b0 = b & 0xffffu;
    let b1 = b >> 16u;
    let middle = a1 * b0 + ((a0 * b0) >> 16u);
    let low = a0 * b1 + (middle & 0xffffu);
    return a1 * b1 + (middle >> 16u) + (low >> 16u);
}

fn philox(first: vec4<u32>, seed: vec2<u32>) -> vec4<u32> {
    var counter = first;
    var key = seed;
    for (var round = 0u; round < 10u; round++) {
        counter = vec4(
            multiply_high(0xCD9E8D57u, counter.z) ^ counter.y ^ key.x,
            0xCD9E8D57u * counter.z,
            multiply_high(0xD2511F53u, counter.x) ^ counter.w ^ key.y,
            0xD2511F53u * counter.x,
        );
        key += vec2(0x9E3779B9u, 0xBB67AE85u);
    }
    return counter;
}

// The words of a block so many after the first. The lowest bits tell them from the random words of others.
fn words_of(offset: u32) -> vec4<u32> {
    let block = params.block_low + offset;
    let high = params.block_high + select(0u, 1u, block < offset);
    let counter = vec4(block, params.update, params.layer, (high << 2u) | 1u);
    return philox(counter, vec2(params.key_low, params.key_high));
}

// The words of four neighbours whose masks have these numbers, counted from the first block on. They lie in one
// block or in two: a span ends where a vector ends, unless the first mask is not the first of its block.
fn words_of_masks(numbers: vec4<u32>) -> vec4<u32> {
    let blocks = numbers / 4u;
    let lanes = numbers % 4u;
    let words = words_of(blocks.x);
    var later = words;
    if blocks.w != blocks.x {
        later = words_of(blocks.w);
    }
    return select(
        vec4(later[lanes.x], later[lanes.y], later[lanes.z], later[lanes.w]),
        vec4(words[lanes.x], words[lanes.y], words[lanes.z], words[lanes.w]),
        blocks == vec4(blocks.x),
    );
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) thread: u32,
) {
    let at = flat_index(group, 64u, thread);
    if at >= params.len { return; }
    var words: vec4<u32>;
    if SPANS {
        words = words_of_masks(params.lane + (vec4(4u * at) + vec4(0u, 1u, 2u, 3u)) / params.span);
    } else if params.lane != 0u {
        words = words_of_masks(params.lane + vec4(4u * at) + vec4(0u, 1u, 2u, 3u));
    } else {
        words = words_of(at);
    }
    // A product rather than a choice, so that NaN stays NaN.
    let factor = select(vec4(params.scale), vec4<f32>(), words < vec4(params.threshold));
    store4(at, vec4<f32>(input[at]) * factor);
}
