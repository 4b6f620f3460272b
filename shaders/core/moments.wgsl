
// Mean and squared differences from it of values that a workgroup shares, in two passes so that
// a large mean costs no digits.
//
// Calls  load_values(which, place) -> vec4   those of a place in one of several rows or channels, see core/planes.wgsl

struct Moments {
    mean: f32,
    squares: f32, // the sum of the squared differences
}

// Values are scaled down by this on their way to a mean, so that the sum of large ones is finite.
const SCALE: f32 = 1.0 / 16384.0;

// Of the places begin .. end of one of these. All zero where there are none.
fn moments(thread: u32, which: u32, begin: u32, end: u32, plane: u32) -> Moments {
    let count = values_in(max(end - begin, 1u));
    let first = place_of(begin + thread, plane);
    var sum = vec4<f32>();
    var place = first;
    for (var block = begin + thread; block < end; block += block_len()) {
        let block_end = min(block + block_len(), end);
        var part = vec4<f32>();
        for (var i = block; i < block_end; i += INVOCATIONS) {
            part += SCALE * load_values(which, place);
            place = next_place(place, plane);
        }
        sum += part;
    }
    let mean = reduce_sum(thread, sum_of(sum)) / (SCALE * count);
    var differences = vec4<f32>();
    var squares = vec4<f32>();
    place = first;
    for (var block = begin + thread; block < end; block += block_len()) {
        let block_end = min(block + block_len(), end);
        var part_differences = vec4<f32>();
        var part_squares = vec4<f32>();
        for (var i = block; i < block_end; i += INVOCATIONS) {
            let difference = load_values(which, place) - for_each(mean);
            part_differences += SCALE * difference;
            part_squares += difference * difference;
            place = next_place(place, plane);
        }
        differences += part_differences;
        squares += part_squares;
    }
    // What rounding left in the mean: the corrected two-pass algorithm.
    let found = reduce_sums(thread, vec2(sum_of(differences), sum_of(squares)));
    let rest = found.x / (SCALE * count);
    return Moments(mean + rest, corrected(found.y, count * rest * rest));
}
