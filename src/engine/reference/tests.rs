use super::*;
use crate::CrossEntropy;
use crate::op::{Loss, Target};

fn small() -> (Model, Vec<f32>, Target) {
    let model = Model::builder([2, 9, 9])
        .conv2d(5, 3)
        .relu()
        .max_pool2d(2)
        .residual(|body| body.push(crate::Conv2d::new(5, 3).padding(1)).tanh())
        .flatten()
        .dense(4)
        .build()
        .unwrap();
    let input = (0..6 * 162)
        .map(|i| ((i * 37 % 101) as f32 - 50.0) / 50.0)
        .collect();
    (model, input, Target::from(&[0u8, 1, 2, 3, 0, 1]))
}

fn bits(reference: &Reference<f32>) -> Vec<u32> {
    reference
        .parameters()
        .iter()
        .flatten()
        .map(|value| value.to_bits())
        .collect()
}

#[test]
fn training_reduces_the_loss() {
    let (model, input, target) = small();
    let mut reference = Reference::new(&model, Loss::default(), Optimizer::adam(1e-2), 1).unwrap();
    let first = reference.step(&input, &target).unwrap();
    for _ in 0..30 {
        reference.step(&input, &target).unwrap();
    }
    let last = reference.loss(&input, &target).unwrap();
    assert!(last < 0.1 * first, "{first} {last}");
    assert_eq!(reference.steps(), 31);
    assert_eq!(reference.forward(&input).unwrap().len(), 6 * 4);
}

#[test]
#[cfg(feature = "native")]
fn the_bits_do_not_depend_on_the_number_of_threads() {
    let (model, input, target) = small();
    let train = |threads| {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .build()
            .unwrap();
        pool.install(|| {
            let optimizer = Optimizer::sgd(0.05).momentum(0.9);
            let mut reference = Reference::new(&model, Loss::default(), optimizer, 1).unwrap();
            for _ in 0..3 {
                reference.step(&input, &target).unwrap();
            }
            bits(&reference)
        })
    };
    let one = train(1);
    assert_eq!(train(2), one);
    assert_eq!(train(5), one);
}

#[test]
fn a_batch_of_another_size_leaves_nothing_behind() {
    let (model, input, target) = small();
    let new = || Reference::new(&model, Loss::default(), Optimizer::sgd(0.1), 3).unwrap();
    let (mut used, mut fresh) = (new(), new());
    let (part, labels) = (&input[..2 * 162], Target::from(&[2u8, 0]));
    used.loss_and_input_gradient(&input, &target).unwrap();
    assert_eq!(
        used.step(part, &labels).unwrap(),
        fresh.step(part, &labels).unwrap()
    );
    assert_eq!(bits(&used), bits(&fresh));
}

#[test]
fn refused_calls_change_nothing() {
    let (model, input, target) = small();
    let mut reference = Reference::new(&model, Loss::default(), Optimizer::sgd(0.1), 3).unwrap();
    reference.step(&input, &target).unwrap();
    let before = (
        bits(&reference),
        reference.gradient("0.weight").unwrap().to_vec(),
    );
    assert!(reference.step(&[0.0; 0], &target).is_err());
    assert!(reference.step(&input[1..], &target).is_err());
    assert!(reference.step(&input, Target::from(&[0u8; 5])).is_err());
    assert!(reference.step(&input, Target::from(&[4u8; 6])).is_err());
    assert!(reference.set_learning_rate(f64::NAN).is_err());
    assert!(reference.set_parameter("0.weight", &[0.0]).is_err());
    assert!(reference.parameter("9.weight").is_err());
    let after = (
        bits(&reference),
        reference.gradient("0.weight").unwrap().to_vec(),
    );
    assert_eq!(before, after);
    assert_eq!(reference.steps(), 1);
    assert_eq!(reference.optimizer().learning_rate(), 0.1);
    let refused =
        |loss: CrossEntropy, optimizer| Reference::<f32>::new(&model, loss, optimizer, 3).is_err();
    assert!(refused(Loss::cross_entropy(), Optimizer::sgd(-1.0)));
    let of_three = Loss::cross_entropy().class_weights([1.0; 3]);
    assert!(refused(of_three, Optimizer::sgd(0.1)));
}

fn gradients(reference: &Reference<f64>) -> Vec<f64> {
    reference.gradients.iter().flatten().copied().collect()
}

fn parameters(reference: &Reference<f64>) -> Vec<f64> {
    reference.parameters.iter().flatten().copied().collect()
}

fn rows(count: usize, seed: usize) -> Vec<f64> {
    (0..4 * count)
        .map(|i| ((i * 37 + seed * 11) % 101) as f64 / 50.0 - 1.0)
        .collect()
}

#[test]
fn accumulated_batches_equal_a_large_one() {
    let model = Model::builder([4])
        .dense(5)
        .tanh()
        .layer_norm()
        .dense(3)
        .build()
        .unwrap();
    let entropy = || {
        Loss::cross_entropy()
            .class_weights([0.5, 1.0, 2.0])
            .ignored_label(-1)
    };
    let losses: [Loss; 2] = [
        entropy().into(),
        entropy().reduction(crate::Reduction::Sum).into(),
    ];
    let labels = [0i64, 1, 2, -1, 0, 2, 1];
    let input = rows(7, 1);
    for loss in losses {
        let adam = || Optimizer::adam(0.01);
        let mut whole = Reference::new(&model, loss.clone(), adam(), 3).unwrap();
        let mut parts = Reference::new(&model, loss, adam(), 3).unwrap();
        parts.set_accumulate(3).unwrap();
        for update in 1..3 {
            whole.step(&input, Target::from(&labels)).unwrap();
            // One of the batches has nothing that counts.
            for range in [0..3, 3..4, 4..7] {
                let labels = Target::from(&labels[range.clone()]);
                let input = &input[4 * range.start..4 * range.end];
                let own = parts.loss(input, &labels).unwrap();
                let loss = parts.step(input, &labels).unwrap();
                assert_eq!(loss.is_nan(), own.is_nan());
                assert!(own.is_nan() || (loss - own).abs() < 1e-14);
            }
            let both = [&whole, &parts];
            let [a, b] = both.map(gradients);
            approx::assert_abs_diff_eq!(a[..], b[..], epsilon = 1e-14);
            let [a, b] = both.map(parameters);
            approx::assert_abs_diff_eq!(a[..], b[..], epsilon = 1e-9);
            assert_eq!(both.map(Reference::updates), [update; 2]);
        }
        assert_eq!([whole.steps(), parts.steps()], [2, 6]);
    }
}

#[test]
fn the_rest_of_an_epoch_is_an_update_of_its_own() {
    let model = Model::builder([4]).dense(3).build().unwrap();
    let new = || Reference::new(&model, Loss::default(), Optimizer::sgd(0.1), 3).unwrap();
    let (mut plain, mut parts) = (new(), new());
    parts.set_accumulate(4).unwrap();
    let (input, labels) = (rows(2, 1), Target::from(&[0u8, 2]));
    parts.update_now().unwrap();
    assert_eq!(parts.updates(), 0);
    parts.step(&input, &labels).unwrap();
    assert_eq!(parameters(&parts), parameters(&plain));
    parts.update_now().unwrap();
    plain.step(&input, &labels).unwrap();
    approx::assert_abs_diff_eq!(
        parameters(&parts)[..],
        parameters(&plain)[..],
        epsilon = 1e-15
    );
    // Nothing is left of it.
    parts.set_accumulate(1).unwrap();
    parts.step(&input, &labels).unwrap();
    plain.step(&input, &labels).unwrap();
    approx::assert_abs_diff_eq!(
        parameters(&parts)[..],
        parameters(&plain)[..],
        epsilon = 1e-15
    );
    assert!(parts.set_accumulate(0).is_err());
}

#[test]
fn clipping_bounds_the_update_by_the_global_norm() {
    let model = Model::builder([4])
        .dense(6)
        .tanh()
        .dense(3)
        .build()
        .unwrap();
    let mut reference = Reference::new(&model, Loss::default(), Optimizer::sgd(1.0), 3).unwrap();
    reference.set_clip_norm(Some(0.125)).unwrap();
    let before = parameters(&reference);
    reference
        .step(&rows(5, 2), Target::from(&[0u8, 1, 2, 0, 0]))
        .unwrap();
    let norm = |values: &[f64]| values.iter().map(|value| value * value).sum::<f64>().sqrt();
    let change: Vec<f64> = parameters(&reference)
        .iter()
        .zip(&before)
        .map(|(new, old)| new - old)
        .collect();
    assert!(norm(&gradients(&reference)) > 0.125);
    approx::assert_abs_diff_eq!(norm(&change), 0.125, epsilon = 1e-5);
    for norm in [0.0, -1.0, f64::NAN] {
        assert!(reference.set_clip_norm(Some(norm)).is_err());
    }
    reference.set_clip_norm(None).unwrap();
}

#[test]
fn many_batches_of_an_update_do_not_drift() {
    let model = Model::builder([1])
        .push(crate::Linear::new(1).bias(false))
        .build()
        .unwrap();
    let loss = Loss::mean_squared_error();
    let mut reference = Reference::<f32>::new(&model, loss, Optimizer::sgd(0.0), 3).unwrap();
    reference.set_parameter("0.weight", &[0.0]).unwrap();
    reference.set_accumulate(20_000).unwrap();
    let mut last = 0.0;
    for _ in 0..20_000 {
        last = reference.step(&[0.3], Target::from(&[0.1f32])).unwrap();
    }
    approx::assert_relative_eq!(last, 0.01, max_relative = 1e-6);
    let gradient = reference.gradient("0.weight").unwrap()[0];
    approx::assert_relative_eq!(gradient, -0.06, max_relative = 1e-6);
}

#[test]
fn running_statistics_follow_training_and_serve_evaluation() {
    let model = Model::builder([1]).batch_norm().build().unwrap();
    let loss = Loss::mean_squared_error();
    let mut reference = Reference::<f64>::new(&model, loss, Optimizer::sgd(0.0), 3).unwrap();
    // Mean 3, biased variance 4, unbiased 8.
    reference
        .step(&[1.0, 5.0], Target::from(&[0.0f32, 0.0]))
        .unwrap();
    approx::assert_abs_diff_eq!(reference.parameter("0.running_mean").unwrap()[0], 0.3);
    approx::assert_abs_diff_eq!(reference.parameter("0.running_var").unwrap()[0], 0.9 + 0.8);
    let y = reference.forward(&[0.3, 2.0]).unwrap();
    approx::assert_abs_diff_eq!(y[..], [0.0, 1.7 / (1.7f64 + 1e-5).sqrt()], epsilon = 1e-15);
    assert!(reference.gradient("0.running_var").is_err());
    assert_eq!(reference.gradient("0.weight").unwrap().len(), 1);
    // A single value has no variance: refused, and nothing has changed.
    let before = parameters(&reference);
    assert!(reference.step(&[9.0], Target::from(&[0.0f32])).is_err());
    assert_eq!(parameters(&reference), before);
    assert_eq!(
        (reference.steps(), reference.forward(&[9.0]).unwrap().len()),
        (1, 1)
    );
}

#[test]
fn dropout_is_off_in_evaluation_and_new_in_every_step() {
    let model = Model::builder([4]).dropout(0.5).dense(3).build().unwrap();
    let plain = Model::builder([4]).reshape([4]).dense(3).build().unwrap();
    let new = |model| Reference::new(model, Loss::default(), Optimizer::sgd(0.0), 3).unwrap();
    let (mut reference, mut without) = (new(&model), new(&plain));
    for name in ["1.weight", "1.bias"] {
        without
            .set_parameter(name, reference.parameter(name).unwrap())
            .unwrap();
    }
    let (input, labels) = (rows(6, 1), Target::from(&[0u8, 1, 2, 0, 1, 2]));
    assert_eq!(
        reference.forward(&input).unwrap(),
        without.forward(&input).unwrap()
    );
    let mut losses = Vec::new();
    for _ in 0..4 {
        let loss = reference.loss_and_gradients(&input, &labels).unwrap();
        assert_eq!(reference.step(&input, &labels).unwrap(), loss);
        losses.push(loss);
    }
    losses.push(without.step(&input, &labels).unwrap());
    losses.sort_by(f64::total_cmp);
    losses.dedup();
    assert_eq!(losses.len(), 5);
}

#[test]
fn batches_of_an_update_overflow_no_sooner_than_one() {
    let layer = crate::Linear::new(1).bias(false);
    let model = Model::builder([1]).push(layer).build().unwrap();
    let train = |accumulate: usize| {
        let (loss, optimizer) = (Loss::mean_squared_error(), Optimizer::sgd(1e-37));
        let mut reference = Reference::<f32>::new(&model, loss, optimizer, 3).unwrap();
        reference.set_parameter("0.weight", &[1.0]).unwrap();
        reference.set_accumulate(accumulate).unwrap();
        let losses: Vec<f32> = (0..accumulate)
            .map(|_| {
                let target = Target::from(&[0.0f32; 1000]);
                reference.step(&[1e18; 1000], &target).unwrap()
            })
            .collect();
        let gradient = reference.gradient("0.weight").unwrap()[0];
        (
            losses,
            gradient,
            reference.parameter("0.weight").unwrap()[0],
        )
    };
    for accumulate in [1, 2, 3] {
        let (losses, gradient, weight) = train(accumulate);
        for loss in losses {
            approx::assert_relative_eq!(loss, 1e36, max_relative = 1e-6);
        }
        approx::assert_relative_eq!(gradient, 2e36, max_relative = 1e-6);
        approx::assert_relative_eq!(weight, 0.8, max_relative = 1e-6);
    }
}

#[test]
fn a_batch_without_weight_adds_nothing_to_an_update() {
    let model = Model::builder([1]).dense(2).build().unwrap();
    let loss = Loss::cross_entropy().class_weights([0.0, 2.0]);
    let gradient = |labels: &[&[u8]]| {
        let optimizer = Optimizer::sgd(0.1);
        let mut reference = Reference::<f32>::new(&model, loss.clone(), optimizer, 3).unwrap();
        reference.set_accumulate(labels.len()).unwrap();
        let step = |labels: &&[u8]| reference.step(&[0.5, -1.0], Target::from(*labels));
        let losses: Result<Vec<f32>> = labels.iter().map(step).collect();
        (
            losses.unwrap(),
            reference.gradient("0.weight").unwrap().to_vec(),
        )
    };
    let (alone, expected) = gradient(&[&[1, 1]]);
    let (losses, got) = gradient(&[&[0, 0], &[1, 1]]);
    assert!(losses[0].is_nan() && losses[1] == alone[0], "{losses:?}");
    approx::assert_relative_eq!(got[..], expected[..], max_relative = 1e-6);
}
