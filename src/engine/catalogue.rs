//! Everything that there is to test, in one place: what tests, benches and the verifier share, so that
//! none of them keeps a list of its own.

use crate::op::Reduction;
use crate::{Loss, Model, Optimizer};

pub use super::operators::{Case, cases};

/// A loss of every kind of kernel that fits a model's output.
pub fn losses(model: &Model) -> Vec<(&'static str, Loss)> {
    let classes = model.output_shape().len();
    let weights = (0..classes).map(|class| 0.5 + (class % 4) as f32 / 2.0);
    let weighted = Loss::cross_entropy()
        .class_weights(weights.collect::<Vec<f32>>())
        .label_smoothing(0.1);
    let all = [
        (
            "cross-entropy",
            Loss::cross_entropy().ignored_label(-1).into(),
        ),
        ("weighted cross-entropy", weighted.into()),
        ("squared error", Loss::MeanSquaredError(Reduction::Mean)),
        (
            "binary cross-entropy",
            Loss::BinaryCrossEntropy(Reduction::Mean),
        ),
    ];
    let fits = |(_, loss): &(_, Loss)| loss.geometry(1, model.output_shape()).is_ok();
    all.into_iter().filter(fits).collect()
}

/// An optimizer of every kind of kernel.
pub fn optimizers() -> [(&'static str, Optimizer); 9] {
    let sgd = Optimizer::sgd(0.1).weight_decay(0.01);
    let rmsprop = Optimizer::rmsprop(0.01).weight_decay(0.01);
    [
        ("sgd", sgd.into()),
        ("sgd, momentum", sgd.momentum(0.9).dampening(0.5).into()),
        ("sgd, nesterov", sgd.momentum(0.9).nesterov(true).into()),
        ("adam", Optimizer::adam(0.01).weight_decay(0.01).into()),
        (
            "adamw, amsgrad",
            Optimizer::adamw(0.01).amsgrad(true).into(),
        ),
        ("rmsprop", rmsprop.into()),
        ("rmsprop, centered", rmsprop.centered(true).into()),
        ("rmsprop, momentum", rmsprop.momentum(0.9).into()),
        (
            "rmsprop, centered, momentum",
            rmsprop.centered(true).momentum(0.9).into(),
        ),
    ]
}
