//! Lion.

use crate::cpu::Real;
use crate::op::Lion;

pub(super) fn update<T: Real>(lion: &Lion, w: &mut [T], g: &[T], state: &mut [&mut [T]]) {
    let [mean] = state else {
        return; // refused above
    };
    let [b1, b2] = lion.betas;
    let [rest1, rest2] = [1.0 - b1, 1.0 - b2].map(T::nearest);
    let [b1, b2, lr] = [b1, b2, lion.learning_rate].map(T::nearest);
    let kept = T::nearest(1.0 - lion.learning_rate * lion.weight_decay);
    for ((w, &g), m) in w.iter_mut().zip(g).zip(mean.iter_mut()) {
        *w = *w * kept - lr * sign(b1 * *m + rest1 * g);
        *m = b2 * *m + rest2 * g;
    }
}

/// -1, 0 or 1; NaN where the number is.
fn sign<T: Real>(x: T) -> T {
    if x > T::zero() {
        T::one()
    } else if x < T::zero() {
        -T::one()
    } else {
        x
    }
}
