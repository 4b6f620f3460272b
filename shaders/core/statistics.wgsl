
// What becomes of a channel's mean and variance. Uses the kernel's buffers `statistics`, `running_mean`,
// `running_variance` and `batches`.

struct Params {
    batch: u32,
    channels: u32,
    plane: u32,
    parts: u32, // that the values of a channel are split into
    epsilon: f32,
    momentum: f32,
}

// Whether there are running estimates.
override HAS_RUNNING: bool = true;
// Whether these are averages of all batches, of which there have been so many before.
override CUMULATIVE: bool = false;

fn store_statistics(channel: u32, mean: f32, variance: f32) {
    statistics[2u * channel] = mean;
    statistics[2u * channel + 1u] = 1.0 / sqrt(variance + params.epsilon);
    if HAS_RUNNING {
        let count = f32(params.batch * params.plane);
        let unbiased = variance * (count / (count - 1.0));
        var share = params.momentum;
        if CUMULATIVE { share = 1.0 / (batches[0] + 1.0); }
        let kept = 1.0 - share;
        running_mean[channel] = kept * running_mean[channel] + share * mean;
        running_variance[channel] = kept * running_variance[channel] + share * unbiased;
    }
}
