
// Where the outputs of an upsampling lie on its input, along one axis.

// Whether an output is the nearest value, else it is made of two along each axis.
override NEAREST: bool = false;

struct Axis {
    input: u32, // its extent
    output: u32,
    step: u32, // output i is at (step * i + offset) / unit
    offset: i32,
    unit: u32,
    next: u32,    // from the first neighbour to the second one: 0 where the axis is copied
    nearest: f32, // the step to the nearest values
}

// The two neighbours of an output, which may be the same, and their weights.
struct Position {
    first: u32,
    second: u32,
    first_weight: f32,
    second_weight: f32,
}

fn position(axis: Axis, i: u32) -> Position {
    if NEAREST {
        let at = min(u32(f32(i) * axis.nearest), axis.input - 1u);
        return Position(at, at, 1.0, 0.0);
    }
    let at = quotient(i, axis.step, axis.offset, axis.unit);
    let second = min(at.whole + axis.next, axis.input - 1u);
    let unit = f32(axis.unit);
    return Position(at.whole, second, f32(axis.unit - at.rest) / unit, f32(at.rest) / unit);
}

// What of the gradient of an output at a position goes to a place that it reads. Of two neighbours that are
// the same both have a share, and nothing of infinity is NaN.
fn share(at: Position, place: u32, gradient: f32) -> f32 {
    if NEAREST { return gradient; }
    let of_first = select(0.0, at.first_weight * gradient, at.first == place);
    let of_second = select(0.0, at.second_weight * gradient, at.second == place);
    return of_first + of_second;
}

// The first output whose first neighbour is at a place, or behind it.
fn first_output(axis: Axis, place: u32) -> u32 {
    if place == 0u { return 0u; }
    if place >= axis.input { return axis.output; }
    var about = f32(place) / axis.nearest;
    if !NEAREST { about = (f32(place) * f32(axis.unit) - f32(axis.offset)) / max(f32(axis.step), 1.0); }
    var i = u32(clamp(about, 0.0, f32(axis.output)));
    while i > 0u && position(axis, i - 1u).first >= place { i -= 1u; }
    while i < axis.output && position(axis, i).first < place { i += 1u; }
    return i;
}

// The outputs that read a place: from the first one on, and before the second one.
fn readers(axis: Axis, place: u32) -> vec2<u32> {
    let before = select(min(axis.next, place), 0u, NEAREST);
    return vec2(first_output(axis, place - before), first_output(axis, place + 1u));
}
