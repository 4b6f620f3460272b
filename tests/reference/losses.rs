//! Finite differences judge every loss, of rows, of pixels and of moments.

use wgpu_cnn::{Conv1d, Loss, Model, ModelBuilder, Reduction, Target};

use crate::gradients_operators::{REDUCTIONS, check};

/// Pixels of two examples of `[3, 2, 3]`, moments of `[3, 6]`, and rows of three classes.
fn models() -> [(&'static str, ModelBuilder, usize); 3] {
    [
        ("pixels", Model::builder([2, 2, 3]).conv2d(3, 1).tanh(), 2),
        (
            "moments",
            Model::builder([2, 6]).push(Conv1d::new(3, 1)).tanh(),
            2,
        ),
        ("rows", Model::builder([4]).dense(3).tanh(), 12),
    ]
}

fn of_classes(reduction: Reduction) -> Vec<(&'static str, Loss)> {
    let weights = [0.5, 2.0, 1.5];
    let entropy = || Loss::cross_entropy().reduction(reduction);
    let likelihood = || Loss::nll().reduction(reduction).ignored_label(-100);
    let dice = || Loss::dice().reduction(reduction).ignored_label(-100);
    vec![
        ("cross-entropy", entropy().ignored_label(-100).into()),
        (
            "cross-entropy, all options",
            entropy()
                .class_weights(weights)
                .label_smoothing(0.2)
                .ignored_label(-100)
                .into(),
        ),
        ("likelihood", likelihood().into()),
        (
            "weighted likelihood",
            likelihood().class_weights(weights).into(),
        ),
        ("dice", dice().into()),
        ("dice over the batch", dice().over_batch(true).into()),
        ("dice, sigmoid", dice().sigmoid().smoothing(0.1).into()),
    ]
}

fn of_values(reduction: Reduction, shape: &[usize]) -> Vec<(&'static str, Loss)> {
    let channels: Vec<usize> = [&[3][..], &vec![1; shape.len() - 1]].concat();
    let len = shape.iter().product();
    let binary = || Loss::binary_cross_entropy().reduction(reduction);
    let each: Vec<f32> = (0..len).map(|at| 0.5 + (at % 7) as f32 / 4.0).collect();
    let losses: [(_, Loss); 10] = [
        ("squared error", Loss::mean_squared_error()),
        ("l1", Loss::l1()),
        ("smooth l1", Loss::smooth_l1(0.4)),
        ("smooth l1 without a square", Loss::smooth_l1(0.0)),
        ("huber", Loss::huber(0.4)),
        ("divergence", Loss::kl_divergence()),
        (
            "binary",
            binary()
                .positive_weights(channels, [0.5, 3.0, 1.5])
                .weights(shape, each)
                .into(),
        ),
        (
            "probabilities",
            Loss::cross_entropy().label_smoothing(0.1).into(),
        ),
        ("dice of values", Loss::dice().into()),
        (
            "dice of values, sigmoid",
            Loss::dice().sigmoid().over_batch(true).into(),
        ),
    ];
    let all = losses.into_iter();
    all.map(|(name, loss)| (name, loss.reduction(reduction)))
        .collect()
}

#[test]
fn losses_have_the_gradients_of_finite_differences() {
    for reduction in REDUCTIONS {
        for (what, model, batch) in models() {
            let shape = model.clone().build().unwrap().output_shape().clone();
            let len = batch * shape.len();
            let labels: Vec<i64> = (0..len as i64 / 3)
                .map(|at| if at == 4 { -100 } else { (at * at + 1) % 3 })
                .collect();
            let values: Vec<f32> = (0..len).map(|at| ((at * 7) % 10) as f32 / 10.0).collect();
            let name = |loss: &str| format!("{loss} of {what}, {reduction:?}");
            for (loss_name, loss) in of_classes(reduction) {
                let target = Target::from(&labels);
                check(&name(loss_name), model.clone(), loss, &target, batch);
            }
            for (loss_name, loss) in of_values(reduction, &shape) {
                let target = Target::from(&values);
                check(&name(loss_name), model.clone(), loss, &target, batch);
            }
        }
    }
}
