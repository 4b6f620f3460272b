//! Optimizers. The twin of the `optimizer` kernels.

use super::parallel::for_each;
use super::{Real, check_length};
use crate::op::{Adam, Optimizer, Sgd};
use crate::{Error, Result};

/// Parameters that one task updates.
const CHUNK: usize = 1 << 13;

/// One update of a parameter. `step` counts from 1. `state` holds
/// [`state_slots`](Optimizer::state_slots) slices as long as the parameter, zero before the first
/// step: the velocity of SGD with momentum, the two moments of Adam. The formulas, and the order of
/// their operations, are PyTorch's:
///
/// * SGD: `g += weight_decay * w; v = momentum * v + g; w -= lr * v`
/// * Adam: `g += weight_decay * w; m += (1 - b1) * (g - m); v = b2 * v + (1 - b2) * g * g;
///   w -= lr / (1 - b1^step) * m / (sqrt(v) / sqrt(1 - b2^step) + eps)`
///
/// # Errors
///
/// [`Error::Shape`] where a slice has another length, [`Error::Argument`] where a hyper-parameter is
/// out of its domain or `step` is 0.
pub fn optimizer_update<T: Real>(
    optimizer: &Optimizer,
    step: u64,
    parameter: &mut [T],
    gradient: &[T],
    state: &mut [Vec<T>],
) -> Result<()> {
    optimizer.check()?;
    if step == 0 {
        return Err(Error::argument("step", "counts from 1"));
    }
    check_length("gradient", [parameter.len()], gradient.len())?;
    if state.len() != optimizer.state_slots() {
        let expected = format!("{} slots", optimizer.state_slots());
        return Err(Error::shape("optimizer state", expected, state.len()));
    }
    for slot in &*state {
        check_length("optimizer state", [parameter.len()], slot.len())?;
    }
    let chunks = parameter.chunks_mut(CHUNK).zip(gradient.chunks(CHUNK));
    match (optimizer, state) {
        (Optimizer::Sgd(sgd), []) => for_each(chunks, |(w, g)| sgd_plain(sgd, w, g)),
        (Optimizer::Sgd(sgd), [v, ..]) => {
            for_each(chunks.zip(v.chunks_mut(CHUNK)), |((w, g), v)| {
                sgd_momentum(sgd, w, g, v)
            });
        }
        (Optimizer::Adam(adam), [m, v, ..]) => {
            let moments = m.chunks_mut(CHUNK).zip(v.chunks_mut(CHUNK));
            for_each(chunks.zip(moments), |((w, g), (m, v))| {
                adam_update(adam, step, w, g, m, v)
            });
        }
        (Optimizer::Adam(_), _) => {} // refused above
    }
    Ok(())
}

fn sgd_plain<T: Real>(sgd: &Sgd, w: &mut [T], g: &[T]) {
    let [lr, decay] = [sgd.learning_rate, sgd.weight_decay].map(T::nearest);
    for (w, &g) in w.iter_mut().zip(g) {
        *w = *w - lr * (g + decay * *w);
    }
}

fn sgd_momentum<T: Real>(sgd: &Sgd, w: &mut [T], g: &[T], v: &mut [T]) {
    let [lr, decay] = [sgd.learning_rate, sgd.weight_decay].map(T::nearest);
    let momentum = T::nearest(sgd.momentum);
    for ((w, &g), v) in w.iter_mut().zip(g).zip(v) {
        *v = momentum * *v + (g + decay * *w);
        *w = *w - lr * *v;
    }
}

fn adam_update<T: Real>(adam: &Adam, step: u64, w: &mut [T], g: &[T], m: &mut [T], v: &mut [T]) {
    let [b1, b2] = adam.betas;
    let correction = |beta: f64| 1.0 - beta.powf(step as f64);
    let step_size = T::nearest(adam.learning_rate / correction(b1));
    let root_correction = T::nearest(correction(b2).sqrt());
    let [rest1, rest2, b2] = [1.0 - b1, 1.0 - b2, b2].map(T::nearest);
    let [epsilon, decay] = [adam.epsilon, adam.weight_decay].map(T::nearest);
    for (((w, &g), m), v) in w.iter_mut().zip(g).zip(m).zip(v) {
        let g = g + decay * *w;
        *m += rest1 * (g - *m);
        *v = b2 * *v + rest2 * g * g;
        let denominator = v.sqrt() / root_correction + epsilon;
        *w = *w - step_size * *m / denominator;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use approx::assert_abs_diff_eq;

    #[test]
    fn sgd_equals_values_computed_by_hand() {
        let plain = Optimizer::from(Optimizer::sgd(0.5).weight_decay(0.1));
        let mut w = [1.0, -2.0];
        optimizer_update(&plain, 1, &mut w, &[0.4, 0.0], &mut []).unwrap();
        assert_abs_diff_eq!(w[..], [0.75, -1.9], epsilon = 1e-15);
        let momentum = Optimizer::from(Optimizer::sgd(0.5).momentum(0.9));
        let (mut w, mut state) = ([1.0], [vec![0.0]]);
        optimizer_update(&momentum, 1, &mut w, &[1.0], &mut state).unwrap();
        optimizer_update(&momentum, 2, &mut w, &[2.0], &mut state).unwrap();
        assert_abs_diff_eq!(state[0][0], 2.9, epsilon = 1e-15);
        assert_abs_diff_eq!(w[0], 1.0 - 0.5 - 1.45, epsilon = 1e-15);
    }

    #[test]
    fn adam_equals_values_computed_by_hand() {
        let adam = Optimizer::from(Optimizer::adam(0.1).betas([0.5, 0.75]).epsilon(0.5));
        let (mut w, mut state) = ([1.0], [vec![0.0], vec![0.0]]);
        optimizer_update(&adam, 1, &mut w, &[2.0], &mut state).unwrap();
        // m = 1, v = 1; corrected 2 and 4.
        assert_abs_diff_eq!(w[0], 1.0 - 0.1 * 2.0 / 2.5, epsilon = 1e-15);
        optimizer_update(&adam, 2, &mut w, &[-1.0], &mut state).unwrap();
        // m = 0, v = 1.
        assert_eq!([state[0][0], state[1][0]], [0.0, 1.0]);
        assert_abs_diff_eq!(w[0], 0.92, epsilon = 1e-15);
    }

    #[test]
    fn state_of_another_length_and_bad_hyper_parameters_are_refused() {
        let adam = Optimizer::from(Optimizer::adam(0.1));
        let mut w = [1.0f32; 2];
        let mut short = [vec![0.0; 2], vec![0.0; 1]];
        let mut good = [vec![0.0; 2], vec![0.0; 2]];
        let g = [1.0; 2];
        assert!(optimizer_update(&adam, 1, &mut w, &g, &mut short).is_err());
        assert!(optimizer_update(&adam, 1, &mut w, &g, &mut good[..1]).is_err());
        assert!(optimizer_update(&adam, 0, &mut w, &g, &mut good).is_err());
        let nan = Optimizer::from(Optimizer::adam(f64::NAN));
        assert!(optimizer_update(&nan, 1, &mut w, &g, &mut good).is_err());
        assert_eq!(w, [1.0; 2]);
        optimizer_update(&adam, 1, &mut w, &g, &mut good).unwrap();
        assert!(w[0] < 1.0);
    }
}
