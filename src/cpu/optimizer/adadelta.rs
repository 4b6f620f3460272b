//! Adadelta.

use crate::cpu::Real;
use crate::op::Adadelta;

pub(super) fn update<T: Real>(adadelta: &Adadelta, w: &mut [T], g: &[T], state: &mut [&mut [T]]) {
    let [squares, steps] = state else {
        return; // refused above
    };
    let [lr, decay] = [adadelta.learning_rate, adadelta.weight_decay].map(T::nearest);
    let [rho, rest] = [adadelta.rho, 1.0 - adadelta.rho].map(T::nearest);
    let epsilon = T::nearest(adadelta.epsilon);
    let state = squares.iter_mut().zip(steps.iter_mut());
    for ((w, &g), (square, steps)) in w.iter_mut().zip(g).zip(state) {
        let g = g + decay * *w;
        *square = rho * *square + rest * g * g;
        let step = (*steps + epsilon).sqrt() / (*square + epsilon).sqrt() * g;
        *steps = rho * *steps + rest * step * step;
        *w = *w - lr * step;
    }
}
