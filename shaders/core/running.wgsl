
// What becomes of running estimates with a batch. Uses the kernel's buffer `batches`, and its `params.momentum`.

// Whether the estimates are averages of all batches, of which there have been so many before.
override CUMULATIVE: bool = false;

// The share of a batch in the estimates after it.
fn batch_share() -> f32 {
    if CUMULATIVE { return 1.0 / (batches[0] + 1.0); }
    return params.momentum;
}

fn folded(running: f32, value: f32, share: f32) -> f32 {
    return (1.0 - share) * running + share * value;
}
