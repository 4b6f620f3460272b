//! Losses of every pixel of an image, or every moment of a signal.

use wgpu_cnn::{Gpu, Loss, Model, Reduction, Shape, Target, Trainer, cpu, ops};

use crate::common::{each_gpu, labels, poisoned_gpus, random, tensor, uniform, wide};
use crate::compare::Expected;
use crate::trainer::everywhere;

/// An example, and how many of them: few classes, more pixels than a workgroup, so many that an
/// invocation takes several, one class, more classes than an invocation takes, and more than a
/// workgroup does.
const SHAPES: [(&[usize], usize); 7] = [
    (&[5, 7, 9], 2),
    (&[3, 64], 1),
    (&[2, 70, 70], 3),
    (&[3, 201, 203], 2),
    (&[1, 5, 6], 2),
    (&[1030, 5], 3),
    (&[4100, 3], 2),
];

fn losses(example: &[usize]) -> Vec<(&'static str, Loss)> {
    let classes = example[0];
    let weights: Vec<f32> = (0..classes).map(|c| 0.5 + (c % 3) as f32).collect();
    let channels: Vec<usize> = [&[classes][..], &vec![1; example.len() - 1]].concat();
    let columns = example[example.len() - 1];
    let of_columns: Vec<f32> = (0..columns).map(|at| 0.25 + (at % 5) as f32).collect();
    let weighted = Loss::cross_entropy().class_weights(weights.clone());
    let binary = Loss::binary_cross_entropy();
    vec![
        ("cross-entropy", Loss::cross_entropy().into()),
        (
            "all options",
            weighted.label_smoothing(0.2).ignored_label(0).into(),
        ),
        (
            "sum",
            Loss::from(Loss::cross_entropy()).reduction(Reduction::Sum),
        ),
        ("likelihood", Loss::nll().ignored_label(0).into()),
        (
            "weighted likelihood",
            Loss::nll().class_weights(weights.clone()).into(),
        ),
        (
            "binary",
            binary
                .positive_weights(channels, weights)
                .weights([columns], of_columns)
                .into(),
        ),
        ("dice", Loss::dice().into()),
        (
            "dice over the batch",
            Loss::dice().over_batch(true).ignored_label(0).into(),
        ),
        (
            "dice, sigmoid",
            Loss::dice().sigmoid().smoothing(1e-3).into(),
        ),
        ("divergence", Loss::kl_divergence()),
        ("smooth l1", Loss::smooth_l1(0.5)),
    ]
}

/// The loss and its gradient in f64, within what functions of the driver and sums of so many pixels
/// may be off by, as shares of the largest gradient.
fn expected(
    loss: &Loss,
    batch: usize,
    example: &[usize],
    output: &[f32],
    t: &Target,
) -> [Expected; 2] {
    let geometry = loss.geometry(batch, &Shape::from(example)).unwrap();
    let (normaliser, mut gradient) = (loss.normaliser(t, &geometry), vec![0.0; output.len()]);
    let output = wide(output);
    let total = cpu::loss_forward_backward(loss, &geometry, normaliser, &output, t, &mut gradient);
    let total = total.unwrap();
    let largest = gradient.iter().fold(0.0, |most: f64, g| most.max(g.abs()));
    let terms = vec![16.0 * largest; gradient.len()];
    let of_total = [8.0 * total.abs()];
    let inner = geometry.classes + geometry.plane;
    [
        Expected::new(vec![total], &of_total, inner),
        Expected::new(gradient, &terms, inner),
    ]
}

fn on_gpu(gpu: &Gpu, shape: &Shape, output: &[f32], target: &Target, loss: &Loss) -> [Vec<f32>; 2] {
    let output = tensor(gpu, shape.clone(), output);
    let (total, gradient) = ops::loss(&output, target.clone(), loss.clone()).unwrap();
    [total.to_vec().unwrap(), gradient.to_vec().unwrap()]
}

#[test]
fn losses_of_pixels_equal_the_reference() {
    for (at, (example, batch)) in SHAPES.into_iter().enumerate() {
        let (shape, mut rng) = (Shape::from(example).batched(batch), random(at as u64));
        let output: Vec<f32> = uniform(&mut rng, shape.len())
            .iter()
            .map(|z| 3.0 * z)
            .collect();
        let pixels = shape.len() / example[0];
        let hard = Target::Labels(labels(&mut rng, pixels, example[0] as u32));
        let soft: Vec<f32> = (0..shape.len()).map(|_| rng.f32()).collect();
        for (name, loss) in losses(example) {
            for target in [hard.clone(), Target::Values(soft.clone())] {
                let geometry = loss.geometry(batch, &Shape::from(example)).unwrap();
                let fits = ops_take(&loss, &target) && loss.normaliser(&target, &geometry) > 0.0;
                if !fits {
                    continue;
                }
                let expected = expected(&loss, batch, example, &output, &target);
                for (device, gpu) in each_gpu().take(2) {
                    let results = on_gpu(gpu, &shape, &output, &target, &loss);
                    let values = ["loss", "gradient"].iter().zip(&results).zip(&expected);
                    for ((what, got), expected) in values {
                        let close = expected.close(got);
                        assert_eq!(close, Ok(()), "{what}, {name}, {shape}, {device}");
                    }
                }
            }
        }
    }
}

/// Whether a loss takes the kind of a target.
fn ops_take(loss: &Loss, target: &Target) -> bool {
    match (loss, target) {
        (Loss::CrossEntropy(_) | Loss::Dice(_), _) => true,
        (Loss::NegativeLogLikelihood(_), Target::Values(_)) => false,
        (Loss::NegativeLogLikelihood(_), _) => true,
        (_, target) => matches!(target, Target::Values(_)),
    }
}

/// What is refused names the label or the count.
#[test]
fn targets_that_do_not_fit_are_refused() {
    let Some((_, gpu)) = poisoned_gpus().next() else {
        return;
    };
    let output = tensor(gpu, [2, 3, 2, 2], &[0.5; 24]);
    let said = |target: Target, loss: Loss| {
        let refused = ops::loss(&output, target, loss);
        refused.unwrap_err().to_string()
    };
    let cross_entropy = || Loss::from(Loss::cross_entropy());
    let mut wrong = vec![0u8; 8];
    wrong[5] = 3;
    assert_eq!(
        said(wrong.into(), cross_entropy()),
        "labels[5]: class 3 of 3"
    );
    let few = said(vec![0u8; 2].into(), cross_entropy());
    assert!(few.contains("4 labels for each of 2 examples"), "{few}");
    let values = said(vec![0.5; 24].into(), Loss::nll().into());
    assert!(values.contains("takes labels"), "{values}");
    let labels = said(vec![0u8; 8].into(), Loss::l1());
    assert!(labels.contains("takes values"), "{labels}");
    let weights = Loss::binary_cross_entropy().positive_weights([3], [1.0; 3]);
    let refused = said(vec![0.5; 24].into(), weights.into());
    assert!(refused.contains("positive weights"), "{refused}");
    let huber = said(vec![0.5; 24].into(), Loss::huber(0.0));
    assert!(huber.contains("huber delta"), "{huber}");
}

/// A smaller batch than planned, and micro-batches: the labels of pixels are where the kernels look.
#[test]
fn a_model_learns_the_labels_of_pixels() {
    let model = Model::builder([2, 5, 6]).conv2d(4, 3).relu().conv2d(3, 1);
    let model = model.build().unwrap();
    let pixels = model.output_shape()[1..].iter().product::<usize>();
    for (name, loss) in [
        (
            "cross-entropy",
            Loss::cross_entropy().ignored_label(-1).into(),
        ),
        ("likelihood", Loss::nll().ignored_label(-1).into()),
        (
            "dice",
            Loss::dice().over_batch(true).ignored_label(-1).into(),
        ),
    ] as [(_, Loss); 3]
    {
        let builder = Trainer::builder(model.clone()).batch(3).accumulate(2);
        for (device, mut trainer) in everywhere(&builder.loss(loss.clone())) {
            let mut on_cpu = Trainer::builder(model.clone()).batch(3).accumulate(2);
            on_cpu = on_cpu.loss(loss.clone());
            let mut on_cpu = on_cpu.on_cpu().unwrap();
            let mut rng = random(7);
            for examples in [3, 2, 1, 3] {
                let x = uniform(&mut rng, examples * 60);
                let labels = (0..examples * pixels).map(|_| rng.i64(-1..3));
                let labels: Vec<i64> = labels.collect();
                trainer.step(&x, &labels).unwrap();
                on_cpu.step(&x, &labels).unwrap();
                let [got, expected] = [&trainer, &on_cpu].map(|t| t.loss().unwrap());
                let off = (got - expected).abs();
                assert!(
                    off < 1e-5 * expected.abs().max(1.0),
                    "{name}, {device}: {got}, {expected}"
                );
            }
            let few = trainer.step(&[0.0; 60], &[0i64; 2][..]).unwrap_err();
            assert!(few.to_string().contains("labels"), "{few}");
        }
    }
}
