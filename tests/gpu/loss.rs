//! The kernels of src/gpu/kernels/loss.rs.

mod dense;

use wgpu_cnn::{Gpu, Loss, Reduction, Target, cpu, ops};

use crate::common::{each_gpu, labels, poisoned_gpus, random, tensor, uniform, wide};
use crate::compare::{Expected, assert_same};

struct Case {
    name: &'static str,
    rows: usize,
    classes: usize,
    /// Logits and outputs lie within plus and minus this.
    scale: f32,
}

const CASES: [Case; 6] = [
    Case {
        name: "one row of two",
        rows: 1,
        classes: 2,
        scale: 1.0,
    },
    Case {
        name: "ten classes",
        rows: 64,
        classes: 10,
        scale: 3.0,
    },
    Case {
        name: "one more row than a workgroup",
        rows: 65,
        classes: 7,
        scale: 1.0,
    },
    Case {
        name: "many rows",
        rows: 700,
        classes: 3,
        scale: 1.0,
    },
    Case {
        name: "many classes",
        rows: 3,
        classes: 1000,
        scale: 5.0,
    },
    Case {
        name: "large logits",
        rows: 9,
        classes: 10,
        scale: 1e4,
    },
];

const REDUCTIONS: [Reduction; 2] = [Reduction::Mean, Reduction::Sum];

/// Rows of probabilities; the sum of every other row is 1.5, since nothing says that it must be 1.
fn probabilities(rng: &mut fastrand::Rng, rows: usize, classes: usize) -> Vec<f32> {
    let mut values: Vec<f32> = (0..rows * classes).map(|_| rng.f32()).collect();
    for (row, wanted) in values
        .chunks_exact_mut(classes)
        .zip([1.5, 1.0].into_iter().cycle())
    {
        row[0] = 0.0; // one class that cannot be
        let sum: f32 = row.iter().sum();
        row.iter_mut().for_each(|p| *p *= wanted / sum);
    }
    values
}

/// The loss and its gradient in f64, with tolerances. The terms of a row's loss are as large as its
/// largest logit, and `exp` is off by 3 + 2|z| units in the last place (WGSL's word).
fn expected(loss: &Loss, case: &Case, output: &[f32], target: &Target) -> [Expected; 2] {
    let &Case { rows, classes, .. } = case;
    let geometry = loss.geometry(rows, &[classes].into()).unwrap();
    let normaliser = loss.normaliser(target, &geometry);
    let (scale, wide, mut gradient) = (1.0 / normaliser, wide(output), vec![0.0; rows * classes]);
    let total =
        cpu::loss_forward_backward(loss, &geometry, normaliser, &wide, target, &mut gradient);
    let total = total.unwrap();
    let (mut total_terms, mut terms) = (0.0, vec![0.0; gradient.len()]);
    for (row, terms) in output
        .chunks_exact(classes)
        .zip(terms.chunks_exact_mut(classes))
    {
        let largest = row.iter().fold(f32::MIN, |a, &b| a.max(b));
        match loss {
            Loss::CrossEntropy(_) => {
                let shifted = row.iter().map(|&z| f64::from(largest - z));
                let spread = shifted.clone().fold(0.0, f64::max);
                total_terms += spread + 4.0;
                let sum: f64 = shifted.clone().map(|z| (-z).exp()).sum();
                for (terms, z) in terms.iter_mut().zip(shifted) {
                    *terms = scale * ((3.0 + 2.0 * z) * (-z).exp() / sum + 1.0);
                }
            }
            _ => {
                let magnitude = |z: &f32| f64::from(z.abs()) + 1.0;
                total_terms += row
                    .iter()
                    .map(|z| 2.0 * magnitude(z) * magnitude(z))
                    .sum::<f64>();
                let each = row.iter().map(|z| scale * 2.0 * magnitude(z));
                terms
                    .iter_mut()
                    .zip(each)
                    .for_each(|(terms, each)| *terms = each);
            }
        }
    }
    [
        Expected::new(vec![total], &[total_terms * scale], rows + classes),
        Expected::new(gradient, &terms, classes),
    ]
}

fn on_gpu(
    gpu: &Gpu,
    shape: [usize; 2],
    output: &[f32],
    target: &Target,
    loss: impl Into<Loss>,
) -> [Vec<f32>; 2] {
    let (total, gradient) = ops::loss(&tensor(gpu, shape, output), target.clone(), loss).unwrap();
    [total.to_vec().unwrap(), gradient.to_vec().unwrap()]
}

#[test]
fn losses_and_their_gradients_equal_the_reference() {
    for case in &CASES {
        let &Case {
            name,
            rows,
            classes,
            scale,
        } = case;
        let mut rng = random(rows as u64);
        let output: Vec<f32> = uniform(&mut rng, rows * classes)
            .iter()
            .map(|z| z * scale)
            .collect();
        let hard = Target::Labels(labels(&mut rng, rows, classes as u32));
        let soft = Target::Values(probabilities(&mut rng, rows, classes));
        let weights: Vec<f32> = (0..classes).map(|_| rng.f32() + 0.5).collect();
        let weighted = Loss::cross_entropy()
            .class_weights(weights)
            .ignored_label(0);
        for reduction in REDUCTIONS {
            let cross_entropy = || Loss::from(Loss::cross_entropy().reduction(reduction));
            let smoothed = || {
                Loss::cross_entropy()
                    .label_smoothing(0.2)
                    .reduction(reduction)
                    .into()
            };
            let kinds = [
                ("labels", cross_entropy(), &hard),
                ("soft labels", cross_entropy(), &soft),
                ("smoothed", smoothed(), &hard),
                ("smoothed soft labels", smoothed(), &soft),
                (
                    "weighted",
                    weighted.clone().reduction(reduction).into(),
                    &hard,
                ),
                (
                    "weighted soft labels",
                    weighted.clone().reduction(reduction).into(),
                    &soft,
                ),
                (
                    "binary",
                    Loss::binary_cross_entropy().reduction(reduction).into(),
                    &soft,
                ),
                ("squared error", Loss::MeanSquaredError(reduction), &soft),
            ];
            for (kind, loss, target) in kinds {
                let expected = expected(&loss, case, &output, target);
                for (device, gpu) in each_gpu() {
                    let results = on_gpu(gpu, [rows, classes], &output, target, loss.clone());
                    for (what, (got, expected)) in ["loss", "gradient"]
                        .iter()
                        .zip(results.iter().zip(&expected))
                    {
                        expected.assert(&format!("{what}, {name}, {kind}, {device}"), got);
                    }
                }
            }
        }
    }
}

/// Losses that can be written down: each class alike, one class certain, one class impossible.
#[test]
fn large_and_infinite_logits_give_the_right_loss() {
    let inf = f32::INFINITY;
    let logits = [1e4, 1e4, -1e4, 1e4, -inf, 0.0];
    let rows = |label: u32| Target::Labels(vec![label; 3]);
    for (device, gpu) in each_gpu() {
        let loss = Loss::cross_entropy().reduction(Reduction::Sum);
        let [total, gradient] = on_gpu(gpu, [3, 2], &logits, &rows(1), loss.clone());
        assert!((total[0] - 2f32.ln()).abs() < 1e-6, "{device}: {total:?}");
        assert_same(device, &gradient, &[0.5, -0.5, 0.0, 0.0, 0.0, 0.0]);
        let [total, gradient] = on_gpu(
            gpu,
            [3, 2],
            &[0.0, 1e4, 0.0, 0.0, 3e4, 3e4],
            &rows(0),
            loss.clone(),
        );
        assert!(
            (total[0] - (1e4 + 4f32.ln())).abs() < 1e-2,
            "{device}: {total:?}"
        );
        assert_same(device, &gradient, &[-1.0, 1.0, -0.5, 0.5, -0.5, 0.5]);
        // A probability of 0 times the logarithm of 0, as in PyTorch; a label does not ask for it.
        let soft = Target::Values(vec![0.0, 1.0]);
        let [total, gradient] = on_gpu(gpu, [1, 2], &[-inf, 3.0], &soft, loss);
        assert!(total[0].is_nan(), "{device}");
        assert_eq!(gradient, [0.0, 0.0], "{device}");
    }
}

#[test]
fn nan_reaches_the_loss() {
    for (device, gpu) in each_gpu() {
        let hard = Target::Labels(vec![0, 1]);
        let logits = [0.0, f32::NAN, 1.0, 2.0];
        let [total, gradient] = on_gpu(gpu, [2, 2], &logits, &hard, Loss::cross_entropy());
        assert!(
            total[0].is_nan() && gradient[..2].iter().all(|g| g.is_nan()),
            "{device}"
        );
        assert!(gradient[2..].iter().all(|g| g.is_finite()), "{device}");
        let soft = Target::Values(vec![0.0; 4]);
        let [total, _] = on_gpu(gpu, [2, 2], &logits, &soft, Loss::mean_squared_error());
        assert!(total[0].is_nan(), "{device}");
    }
}

/// Rows longer than llvmpipe lets an invocation's loops be: an image as output, a large vocabulary.
#[test]
fn very_long_rows_are_complete() {
    for (device, gpu) in poisoned_gpus().take(1) {
        let len = 70_000;
        let target = Target::Values(vec![0.0; len]);
        let loss = Loss::mean_squared_error().reduction(Reduction::Sum);
        let [total, gradient] = on_gpu(gpu, [1, len], &vec![1.0; len], &target, loss);
        assert_same(device, &total, &[len as f32]);
        assert_same(device, &gradient, &vec![2.0; len]);
        let loss = Loss::cross_entropy();
        let [total, gradient] = on_gpu(
            gpu,
            [1, len],
            &vec![1.0; len],
            &Target::Labels(vec![0]),
            loss,
        );
        assert!(
            (f64::from(total[0]) - (len as f64).ln()).abs() < 1e-4,
            "{device}: {total:?}"
        );
        let probability = 1.0 / len as f32;
        assert!(
            gradient[1..]
                .iter()
                .all(|g| (g / probability - 1.0).abs() < 1e-3),
            "{device}"
        );
    }
}
