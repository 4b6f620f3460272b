
// Mean and squared differences from it of values that a workgroup of 64 shares, in two passes so that
// a large mean costs no digits.
//
// Calls  load_value(which, i) -> f32   value i of one of several rows or channels

struct Moments {
    mean: f32,
    squares: f32, // the sum of the squared differences
}

// Values are scaled down by this on their way to a mean, so that the sum of large ones is finite.
const SCALE: f32 = 1.0 / 16384.0;

// Of the values begin .. end of one of these. All zero where there are none.
fn moments(thread: u32, which: u32, begin: u32, end: u32) -> Moments {
    let count = f32(max(end - begin, 1u));
    var sum = 0.0;
    for (var block = begin + thread; block < end; block += BLOCK) {
        let block_end = min(block + BLOCK, end);
        var part = 0.0;
        for (var i = block; i < block_end; i += 64u) { part += SCALE * load_value(which, i); }
        sum += part;
    }
    let mean = reduce_sum(thread, sum) / (SCALE * count);
    var differences = 0.0;
    var squares = 0.0;
    for (var block = begin + thread; block < end; block += BLOCK) {
        let block_end = min(block + BLOCK, end);
        var part = vec2<f32>();
        for (var i = block; i < block_end; i += 64u) {
            let difference = load_value(which, i) - mean;
            part += vec2(SCALE * difference, difference * difference);
        }
        differences += part.x;
        squares += part.y;
    }
    // What rounding left in the mean: the corrected two-pass algorithm.
    let rest = reduce_sum(thread, differences) / (SCALE * count);
    return Moments(mean + rest, corrected(reduce_sum(thread, squares), count * rest * rest));
}
