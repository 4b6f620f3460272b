
// The best of the values of a max-pooling window, and its place. The first maximum in row-major order wins;
// a NaN wins over everything, and the last NaN of a window gives the place.

const NOWHERE: u32 = 0xffffffffu;

struct Best {
    value: f32,
    place: u32,
}

// The better of two, in whatever order they come.
fn better(a: Best, b: Best) -> Best {
    if b.place == NOWHERE { return a; }
    if a.place == NOWHERE { return b; }
    let a_is_nan = is_nan(a.value);
    let b_is_nan = is_nan(b.value);
    var b_wins = b.value > a.value || (b.value == a.value && b.place < a.place);
    if a_is_nan || b_is_nan { b_wins = b_is_nan && (!a_is_nan || b.place > a.place); }
    if b_wins { return b; }
    return a;
}

var<workgroup> best_values: array<f32, 64>;
var<workgroup> best_places: array<u32, 64>;

// The best of those of the 64 invocations of a workgroup, in every one of them. All must call it.
fn reduce_best(thread: u32, own: Best) -> Best {
    var best = own;
    best_values[thread] = best.value;
    best_places[thread] = best.place;
    for (var half = 32u; half > 0u; half /= 2u) {
        workgroupBarrier();
        if thread < half {
            best = better(best, Best(best_values[thread + half], best_places[thread + half]));
            best_values[thread] = best.value;
            best_places[thread] = best.place;
        }
    }
    workgroupBarrier();
    return Best(best_values[0], best_places[0]);
}
