//! Adagrad.

use crate::cpu::Real;
use crate::op::Adagrad;

pub(super) fn update<T: Real>(
    adagrad: &Adagrad,
    step: u64,
    w: &mut [T],
    g: &[T],
    state: &mut [&mut [T]],
) {
    let [sums] = state else {
        return; // refused above
    };
    let (rate, epsilon) = (T::nearest(adagrad.rate(step)), T::nearest(adagrad.epsilon));
    let decay = T::nearest(adagrad.weight_decay);
    for ((w, &g), sum) in w.iter_mut().zip(g).zip(sums.iter_mut()) {
        let g = g + decay * *w;
        *sum += g * g;
        *w = *w - rate * g / (sum.sqrt() + epsilon);
    }
}
