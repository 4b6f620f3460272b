//! Optimizers, and the norm of gradients. The twin of the `optimizer` kernels.

mod adadelta;
mod adagrad;
mod lion;
mod nadam;

use super::parallel::for_each;
use super::sum::sum;
use super::{Real, check_length};
use crate::op::{Adam, Optimizer, RmsProp, Sgd};
use crate::{Error, Result};

/// Parameters that one task updates.
const CHUNK: usize = 1 << 13;

/// One update of a parameter. `step` counts from 1. `state` holds
/// [`state_slots`](Optimizer::state_slots) slices as long as the parameter, which hold
/// [`initial_state`](Optimizer::initial_state), mostly 0, before the first step. The formulas, and the order of their operations, are PyTorch's:
///
/// * SGD: `g += weight_decay * w; v = momentum * v + (1 - dampening) * g` (the first time `v = g`);
///   `w -= lr * v`, or with Nesterov's momentum `w -= lr * (g + momentum * v)`
/// * Adam: `g += weight_decay * w` (decoupled: `w *= 1 - lr * weight_decay`);
///   `m += (1 - b1) * (g - m); v = b2 * v + (1 - b2) * g * g;
///   w -= lr / (1 - b1^step) * m / (sqrt(v) / sqrt(1 - b2^step) + eps)`; with `amsgrad` the largest
///   `v` so far in its place
/// * RMSprop: `g += weight_decay * w; s = alpha * s + (1 - alpha) * g * g;
///   w -= lr * g / (sqrt(s) + eps)`; centered `a += (1 - alpha) * (g - a)` and `sqrt(s - a * a)`;
///   with momentum `v = momentum * v + g / (..); w -= lr * v`
/// * Adagrad: `g += weight_decay * w; s += g * g;
///   w -= lr / (1 + (step - 1) * lr_decay) * g / (sqrt(s) + eps)`
/// * Adadelta: `g += weight_decay * w; s = rho * s + (1 - rho) * g * g;
///   d = sqrt(a + eps) / sqrt(s + eps) * g; a = rho * a + (1 - rho) * d * d; w -= lr * d`
/// * NAdam: `m` and `v` as Adam; `d = sqrt(v) / sqrt(1 - b2^step) + eps;
///   w -= lr * (1 - mu) / (1 - p) * g / d; w -= lr * mu' / (1 - p * mu') * m / d`, where `mu` and `mu'` are
///   `b1 * (1 - 0.96^(step * momentum_decay) / 2)` of this step and the next, and `p` the product of all `mu`
/// * Lion: `w *= 1 - lr * weight_decay; w -= lr * sign(b1 * m + (1 - b1) * g);
///   m = b2 * m + (1 - b2) * g`
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
    let mut slots: Vec<_> = state
        .iter_mut()
        .map(|slot| slot.chunks_mut(CHUNK))
        .collect();
    let chunks = parameter
        .chunks_mut(CHUNK)
        .zip(gradient.chunks(CHUNK))
        .map(|(w, g)| {
            let state: Vec<&mut [T]> = slots.iter_mut().filter_map(Iterator::next).collect();
            (w, g, state)
        });
    for_each(chunks, |(w, g, mut state)| match optimizer {
        Optimizer::Sgd(sgd) => sgd_update(sgd, step, w, g, &mut state),
        Optimizer::Adam(adam) => adam_update(adam, step, w, g, &mut state),
        Optimizer::RmsProp(rms) => rmsprop_update(rms, w, g, &mut state),
        Optimizer::Adagrad(adagrad) => adagrad::update(adagrad, step, w, g, &mut state),
        Optimizer::Adadelta(adadelta) => adadelta::update(adadelta, w, g, &mut state),
        Optimizer::NAdam(nadam) => nadam::update(nadam, step, w, g, &mut state),
        Optimizer::Lion(lion) => lion::update(lion, w, g, &mut state),
    });
    Ok(())
}

/// The square root of the sum of all gradients' squares, none of which overflows or vanishes. Of finite
/// gradients in `f32` it is finite, but may be larger than an `f32` can be.
pub fn global_norm<'a, T: Real>(
    gradients: impl IntoIterator<Item = &'a [T], IntoIter: Clone>,
) -> f64 {
    let gradients = gradients.into_iter();
    let norm = |scale: f64| {
        let squares = |part: &[T]| sum(part.iter().map(|g| (g.wide() * scale).powi(2)));
        sum(gradients.clone().map(squares)).sqrt() / scale
    };
    let plain = norm(1.0);
    if plain.is_nan() || (1e-140..1e140).contains(&plain) {
        return plain;
    }
    // In `f64` squares may be out of range too: then the largest gradient is made 1 for them.
    let all = gradients.clone().flatten().map(|g| g.wide().abs());
    let largest = all.fold(0.0, f64::max);
    if largest == 0.0 || largest == f64::INFINITY {
        return largest;
    }
    norm((1.0 / largest).min(f64::MAX))
}

/// What gradients of the global norm `norm` are multiplied by so that it stays within `max_norm`:
/// `min(1, max_norm / (norm + 1e-6))`, as in `torch.nn.utils.clip_grad_norm_`. NaN stays NaN.
pub fn clip_scale(max_norm: f64, norm: f64) -> f64 {
    let scale = max_norm / (norm + 1e-6);
    if scale > 1.0 { 1.0 } else { scale }
}

fn sgd_update<T: Real>(sgd: &Sgd, step: u64, w: &mut [T], g: &[T], state: &mut [&mut [T]]) {
    let [lr, decay] = [sgd.learning_rate, sgd.weight_decay].map(T::nearest);
    let Some(velocity) = state.first_mut() else {
        for (w, &g) in w.iter_mut().zip(g) {
            *w = *w - lr * (g + decay * *w);
        }
        return;
    };
    let undamped = if step == 1 { 1.0 } else { 1.0 - sgd.dampening };
    let [momentum, undamped] = [sgd.momentum, undamped].map(T::nearest);
    for ((w, &g), v) in w.iter_mut().zip(g).zip(velocity.iter_mut()) {
        let g = g + decay * *w;
        *v = momentum * *v + undamped * g;
        let direction = if sgd.nesterov { g + momentum * *v } else { *v };
        *w = *w - lr * direction;
    }
}

fn adam_update<T: Real>(adam: &Adam, step: u64, w: &mut [T], g: &[T], state: &mut [&mut [T]]) {
    let [m, v, largest @ ..] = state else {
        return; // refused above
    };
    let [b1, b2] = adam.betas;
    let correction = |beta: f64| 1.0 - beta.powf(step as f64);
    let step_size = T::nearest(adam.learning_rate / correction(b1));
    let root_correction = T::nearest(correction(b2).sqrt());
    let [rest1, rest2, b2] = [1.0 - b1, 1.0 - b2, b2].map(T::nearest);
    let (epsilon, decay) = (T::nearest(adam.epsilon), T::nearest(adam.weight_decay));
    let kept = T::nearest(1.0 - adam.learning_rate * adam.weight_decay);
    let moments = m.iter_mut().zip(v.iter_mut());
    for (at, ((w, &g), (m, v))) in w.iter_mut().zip(g).zip(moments).enumerate() {
        let g = if adam.decoupled { g } else { g + decay * *w };
        if adam.decoupled {
            *w *= kept;
        }
        *m += rest1 * (g - *m);
        *v = b2 * *v + rest2 * g * g;
        let second = match largest.first_mut() {
            Some(largest) => {
                largest[at] = maximum(largest[at], *v);
                largest[at]
            }
            None => *v,
        };
        let denominator = second.sqrt() / root_correction + epsilon;
        *w = *w - step_size * *m / denominator;
    }
}

fn rmsprop_update<T: Real>(rms: &RmsProp, w: &mut [T], g: &[T], state: &mut [&mut [T]]) {
    let [square, others @ ..] = state else {
        return; // refused above
    };
    let (centered, momentum) = (usize::from(rms.centered), T::nearest(rms.momentum));
    let [lr, epsilon, decay] = [rms.learning_rate, rms.epsilon, rms.weight_decay].map(T::nearest);
    let [alpha, rest] = [rms.alpha, 1.0 - rms.alpha].map(T::nearest);
    for (at, ((w, &g), square)) in w.iter_mut().zip(g).zip(square.iter_mut()).enumerate() {
        let g = g + decay * *w;
        *square = alpha * *square + rest * g * g;
        let mut variance = *square;
        if rms.centered {
            let mean = &mut others[0][at];
            *mean += rest * (g - *mean);
            // Rounding must not make it negative, where PyTorch gives NaN.
            variance = maximum(*square - *mean * *mean, T::zero());
        }
        let quotient = g / (variance.sqrt() + epsilon);
        let direction = match others.get_mut(centered) {
            Some(velocity) => {
                velocity[at] = momentum * velocity[at] + quotient;
                velocity[at]
            }
            None => quotient,
        };
        *w = *w - lr * direction;
    }
}

/// The larger number; NaN where one is.
fn maximum<T: Real>(a: T, b: T) -> T {
    if a >= b || a.is_nan() { a } else { b }
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

    #[test]
    fn dampening_starts_with_the_second_step_and_nesterov_looks_ahead() {
        let damped = Optimizer::from(Optimizer::sgd(1.0).momentum(0.5).dampening(0.25));
        let (mut w, mut state) = ([0.0], [vec![0.0]]);
        optimizer_update(&damped, 1, &mut w, &[4.0], &mut state).unwrap();
        assert_eq!((w[0], state[0][0]), (-4.0, 4.0));
        optimizer_update(&damped, 2, &mut w, &[4.0], &mut state).unwrap();
        assert_eq!((w[0], state[0][0]), (-9.0, 5.0));
        let nesterov = Optimizer::from(Optimizer::sgd(1.0).momentum(0.5).nesterov(true));
        let (mut w, mut state) = ([0.0], [vec![0.0]]);
        optimizer_update(&nesterov, 1, &mut w, &[4.0], &mut state).unwrap();
        assert_eq!((w[0], state[0][0]), (-6.0, 4.0));
    }

    #[test]
    fn adamw_decays_the_weight_alone_and_amsgrad_keeps_the_largest_moment() {
        let adamw = Optimizer::adamw(0.5)
            .weight_decay(0.5)
            .betas([0.5, 0.75])
            .epsilon(0.5);
        let adamw = Optimizer::from(adamw.amsgrad(true));
        let (mut w, mut state) = ([4.0], [vec![0.0], vec![0.0], vec![0.0]]);
        optimizer_update(&adamw, 1, &mut w, &[2.0], &mut state).unwrap();
        assert_abs_diff_eq!(w[0], 4.0 * 0.75 - 0.5 * 2.0 / 2.5, epsilon = 1e-15);
        optimizer_update(&adamw, 2, &mut w, &[0.0], &mut state).unwrap();
        assert_eq!([state[0][0], state[1][0], state[2][0]], [0.5, 0.75, 1.0]);
        let root = (1.0f64 / (1.0 - 0.75 * 0.75)).sqrt();
        let expected = 2.6 * 0.75 - 0.5 * (0.5 / 0.75) / (root + 0.5);
        assert_abs_diff_eq!(w[0], expected, epsilon = 1e-15);
    }

    #[test]
    fn rmsprop_equals_values_computed_by_hand() {
        let plain = Optimizer::rmsprop(0.5).alpha(0.75).epsilon(0.5);
        let (mut w, mut state) = ([1.0], [vec![0.0]]);
        optimizer_update(&plain.into(), 1, &mut w, &[2.0], &mut state).unwrap();
        assert_abs_diff_eq!(w[0], 1.0 - 0.5 * 2.0 / 1.5, epsilon = 1e-15);
        let all = Optimizer::from(plain.centered(true).momentum(0.5));
        let (mut w, mut state) = ([1.0], [vec![0.0], vec![0.0], vec![0.0]]);
        optimizer_update(&all, 1, &mut w, &[2.0], &mut state).unwrap();
        optimizer_update(&all, 2, &mut w, &[2.0], &mut state).unwrap();
        assert_eq!([state[0][0], state[1][0]], [1.75, 0.875]);
        let first = 2.0 / (0.75f64.sqrt() + 0.5);
        let second = 0.5 * first + 2.0 / ((1.75f64 - 0.875 * 0.875).sqrt() + 0.5);
        assert_abs_diff_eq!(state[2][0], second, epsilon = 1e-15);
        assert_abs_diff_eq!(w[0], 1.0 - 0.5 * (first + second), epsilon = 1e-15);
    }

    #[test]
    fn adagrad_and_adadelta_equal_values_computed_by_hand() {
        let adagrad = Optimizer::adagrad(0.5).learning_rate_decay(1.0);
        let adagrad = adagrad.initial_accumulator(5.0).epsilon(0.5).into();
        let (mut w, mut state) = ([1.0], [vec![5.0]]);
        optimizer_update(&adagrad, 1, &mut w, &[2.0], &mut state).unwrap();
        assert_abs_diff_eq!(w[0], 1.0 - 0.5 * 2.0 / 3.5, epsilon = 1e-15);
        optimizer_update(&adagrad, 2, &mut w, &[4.0], &mut state).unwrap();
        // Half the rate, and 9 + 16 in the sum.
        assert_eq!(state[0][0], 25.0);
        let expected = 1.0 - 1.0 / 3.5 - 0.25 * 4.0 / 5.5;
        assert_abs_diff_eq!(w[0], expected, epsilon = 1e-15);
        let adadelta = Optimizer::adadelta(0.5).rho(0.75).epsilon(1.0).into();
        let (mut w, mut state) = ([1.0], [vec![0.0], vec![0.0]]);
        optimizer_update(&adadelta, 1, &mut w, &[2.0], &mut state).unwrap();
        // s = 1, and the step is 2 / sqrt(2).
        assert_abs_diff_eq!(w[0], 1.0 - 0.5 * 2f64.sqrt(), epsilon = 1e-15);
        assert_abs_diff_eq!(state[1][0], 0.5, epsilon = 1e-15);
    }

    #[test]
    fn nadam_and_lion_equal_values_computed_by_hand() {
        // Without a momentum decay every mu is half of beta 1.
        let nadam = Optimizer::nadam(0.5).betas([0.5, 0.75]).epsilon(0.5);
        let nadam = nadam.momentum_decay(0.0).into();
        let (mut w, mut state) = ([1.0], [vec![0.0], vec![0.0]]);
        optimizer_update(&nadam, 1, &mut w, &[2.0], &mut state).unwrap();
        // m = 1, corrected v = 4; the shares are 1 and 0.25 / (1 - 1/16).
        let expected = 1.0 - 0.5 * (2.0 + 0.25 / 0.9375) / 2.5;
        assert_abs_diff_eq!(w[0], expected, epsilon = 1e-15);
        let lion = Optimizer::lion(0.25).betas([0.5, 0.75]).weight_decay(0.5);
        let (lion, mut w) = (lion.into(), [4.0, 4.0, 4.0, 4.0]);
        let mut state = [vec![1.0, -1.0, 1.0, 1.0]];
        optimizer_update(&lion, 1, &mut w, &[-2.0, 0.5, -1.0, f64::NAN], &mut state).unwrap();
        assert_eq!(w[..3], [3.75, 3.75, 3.5]);
        assert!(w[3].is_nan());
        assert_eq!(state[0][..3], [0.25, -0.625, 0.5]);
    }

    #[test]
    fn a_constant_gradient_has_no_negative_variance() {
        let centered = Optimizer::from(Optimizer::rmsprop(0.1).alpha(0.5).centered(true));
        let (mut w, mut state) = ([0.0f32], [vec![0.0], vec![0.0]]);
        for step in 1..100 {
            optimizer_update(&centered, step, &mut w, &[0.1], &mut state).unwrap();
        }
        assert!(w[0].is_finite());
    }

    #[test]
    fn clipping_scales_to_the_norm_and_passes_nan() {
        let gradients = [vec![3.0, 0.0], vec![4.0]];
        let norm = global_norm(gradients.iter().map(Vec::as_slice));
        assert_eq!(norm, 5.0);
        assert_abs_diff_eq!(clip_scale(2.5, norm), 0.5, epsilon = 1e-6);
        assert_eq!(clip_scale(10.0, norm), 1.0);
        assert!(clip_scale(1.0, f64::NAN).is_nan());
        assert_eq!(clip_scale(1.0, f64::INFINITY), 0.0);
    }

    #[test]
    fn squares_of_gradients_neither_overflow_nor_vanish() {
        let norm_of = |g: &[f32]| global_norm([g]);
        for scale in [1e-44f32, 1e-30, 1e20, 5e37] {
            let (a, b) = (3.0 * scale, 4.0 * scale);
            let expected = f64::from(a).hypot(f64::from(b));
            assert_abs_diff_eq!(norm_of(&[a, 0.0, -b]) / expected, 1.0, epsilon = 1e-15);
        }
        assert!(norm_of(&[f32::MAX; 4]) > f64::from(f32::MAX));
        let wide = [3e-300, 4e-300, 3e300, 4e300];
        assert_abs_diff_eq!(global_norm([&wide[..2]]) * 1e300, 5.0, epsilon = 1e-14);
        assert_abs_diff_eq!(global_norm([&wide[2..]]) / 1e300, 5.0, epsilon = 1e-14);
        assert_eq!((norm_of(&[0.0; 3]), norm_of(&[])), (0.0, 0.0));
        let (infinite, nan) = (f32::INFINITY, f32::NAN);
        assert_eq!(norm_of(&[infinite, -1.0, -infinite]), f64::INFINITY);
        assert!(norm_of(&[infinite, nan]).is_nan() && norm_of(&[nan, 1.0]).is_nan());
    }
}
