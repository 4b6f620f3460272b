
// The target of a cross-entropy, a vector over the classes of each row. Uses the kernel's buffers
// `labels`, `probabilities` and `class_weights`.

struct Params {
    rows: u32, // all examples' pixels
    classes: u32,
    plane: u32, // pixels of an example, which lie next to each other
    scale: f32,
    soft: u32, // whether the target is probabilities rather than labels
    smoothing: f32,
    ignored: u32, // the label whose rows count for nothing
    has_ignored: u32,
    parts: u32, // that the classes are split into
    turns: u32, // rows of an invocation
}

override HAS_WEIGHTS: bool = false;

// Whether a row counts for nothing.
fn is_ignored(row: u32) -> bool {
    return params.has_ignored != 0u && params.soft == 0u && labels[row] == params.ignored;
}

// Where a row's first class lies; the others are a plane apart.
fn first_of(row: u32) -> u32 {
    return row / params.plane * params.classes * params.plane + row % params.plane;
}

fn target_of(row: u32, class_index: u32) -> f32 {
    var t: f32;
    if params.soft != 0u {
        t = probabilities[first_of(row) + class_index * params.plane];
    } else {
        t = select(0.0, 1.0, labels[row] == class_index);
    }
    t = t * (1.0 - params.smoothing) + params.smoothing / f32(params.classes);
    if HAS_WEIGHTS { t *= class_weights[class_index]; }
    return t;
}
