
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

fn counts(example: u32, pixel: u32) -> bool {
    return params.soft != 0u || labels[example * params.plane + pixel] != params.ignored;
}

fn target_of(example: u32, class_index: u32, pixel: u32) -> f32 {
    if params.soft != 0u {
        return values[(example * params.classes + class_index) * params.plane + pixel];
    }
    return select(0.0, 1.0, labels[example * params.plane + pixel] == class_index);
}
