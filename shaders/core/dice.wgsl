
// The target of a Dice loss: how much of a class each pixel is. Uses the kernel's buffers `labels` and
// `values`.

struct Params {
    examples: u32,
    classes: u32,
    plane: u32, // pixels of an example
    scale: f32,
    soft: u32, // whether the target is values rather than labels
    ignored: u32, // the label whose pixels are in none of the sums
    parts: u32, // that the pixels are split into
    over_batch: u32, // whether all examples share their sums
}

// The label of a pixel, where there are some.
fn label_of(row: u32) -> u32 {
    if params.soft != 0u { return 0u; }
    return labels[row];
}

fn counts(label: u32) -> bool {
    return params.soft != 0u || label != params.ignored;
}

// Of a pixel's class, which lies at a place.
fn target_of(label: u32, class_index: u32, at: u32) -> f32 {
    if params.soft != 0u { return values[at]; }
    return select(0.0, 1.0, label == class_index);
}
