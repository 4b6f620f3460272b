//! NAdam.

use crate::cpu::Real;
use crate::op::NAdam;

pub(super) fn update<T: Real>(
    nadam: &NAdam,
    step: u64,
    w: &mut [T],
    g: &[T],
    state: &mut [&mut [T]],
) {
    let [m, v] = state else {
        return; // refused above
    };
    let shares = nadam.shares(step);
    let [of_gradient, of_moment] = [shares.gradient, shares.moment].map(T::nearest);
    let root_correction = T::nearest(shares.root_correction);
    let [b1, b2] = nadam.betas;
    let [rest1, rest2, b2] = [1.0 - b1, 1.0 - b2, b2].map(T::nearest);
    let (epsilon, decay) = (T::nearest(nadam.epsilon), T::nearest(nadam.weight_decay));
    let kept = T::nearest(1.0 - nadam.learning_rate * nadam.weight_decay);
    let moments = m.iter_mut().zip(v.iter_mut());
    for ((w, &g), (m, v)) in w.iter_mut().zip(g).zip(moments) {
        let g = if nadam.decoupled { g } else { g + decay * *w };
        if nadam.decoupled {
            *w *= kept;
        }
        *m += rest1 * (g - *m);
        *v = b2 * *v + rest2 * g * g;
        let denominator = v.sqrt() / root_correction + epsilon;
        *w = *w - of_gradient * g / denominator;
        *w = *w - of_moment * *m / denominator;
    }
}
