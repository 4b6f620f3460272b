
// What becomes of a channel's mean and variance. Uses the kernel's buffers `statistics`, `running_mean`,
// `running_variance` and `batches`.

struct Params {
    batch: u32,
    channels: u32,
    plane: u32, // in vectors of four with PLANE_VEC4
    parts: u32, // that the values of a channel are split into
    epsilon: f32,
    momentum: f32,
}

// Whether there are running estimates.
override HAS_RUNNING: bool = true;
// Whether they are the batch's own, which another kernel folds into the running ones.
override FOLDS_LATER: bool = false;

fn store_statistics(channel: u32, mean: f32, variance: f32) {
    statistics[2u * channel] = mean;
    statistics[2u * channel + 1u] = 1.0 / sqrt(variance + params.epsilon);
    if HAS_RUNNING {
        let count = values_in(params.batch * params.plane);
        let unbiased = variance * (count / (count - 1.0));
        if FOLDS_LATER {
            running_mean[channel] = mean;
            running_variance[channel] = unbiased;
        } else {
            let share = batch_share();
            running_mean[channel] = folded(running_mean[channel], mean, share);
            running_variance[channel] = folded(running_variance[channel], unbiased, share);
        }
    }
}
