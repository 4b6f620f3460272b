use super::metrics::{Accuracy, ConfusionMatrix, MeanErrors, Metric};
use super::{Trainer, TrainerBuilder};
use crate::device;
use crate::engine::Reference;
use crate::op::{CrossEntropy, Linear, Reduction, Target};
use crate::{Error, Loss, Losses, Model, Optimizer};

/// Trainers on both sides.
fn trainers(builder: TrainerBuilder) -> Vec<Trainer> {
    let gpu = device::plain().map(|gpu| builder.clone().on(gpu).unwrap());
    gpu.into_iter().chain([builder.on_cpu().unwrap()]).collect()
}

/// Numbers from -1 to 1.
fn numbers(seed: u64, count: usize) -> Vec<f32> {
    let mut random = fastrand::Rng::with_seed(seed);
    (0..count).map(|_| random.f32() * 2.0 - 1.0).collect()
}

fn labels(seed: u64, count: usize, from: &[i64]) -> Vec<i64> {
    let mut random = fastrand::Rng::with_seed(seed);
    (0..count)
        .map(|_| from[random.usize(..from.len())])
        .collect()
}

/// A target in parts of so many examples each.
fn split(target: &Target, examples: usize, sizes: &[usize]) -> Vec<Target> {
    let (mut parts, mut begin) = (Vec::new(), 0);
    for size in sizes {
        let range = |len: usize| begin * len / examples..(begin + size) * len / examples;
        parts.push(match target {
            Target::Labels(all) => Target::Labels(all[range(all.len())].to_vec()),
            Target::WideLabels(all) => Target::WideLabels(all[range(all.len())].to_vec()),
            Target::Values(all) => Target::Values(all[range(all.len())].to_vec()),
        });
        begin += size;
    }
    parts
}

const EXAMPLES: usize = 7;
const PIXELS: usize = 4;

/// Losses on outputs `[3, 2, 2]`, with targets.
fn losses() -> Vec<(Loss, Target)> {
    let of_classes = labels(1, EXAMPLES * PIXELS, &[0, 1, 2, 2, -100]);
    let of_classes = Target::from(of_classes);
    let values = Target::from(numbers(2, EXAMPLES * 3 * PIXELS));
    let Target::Values(signed) = &values else {
        unreachable!()
    };
    let shares: Vec<f32> = signed.iter().map(|x| x.abs()).collect();
    let shares = Target::from(shares);
    let cross = || -> CrossEntropy { Loss::cross_entropy().ignored_label(-100) };
    let weighted = || cross().class_weights([0.5, 2.0, 3.25]).label_smoothing(0.1);
    let dice = || Loss::dice().ignored_label(-100).over_batch(true);
    let mut all: Vec<(Loss, Target)> = vec![
        (cross().into(), of_classes.clone()),
        (weighted().into(), of_classes.clone()),
        (Loss::cross_entropy().into(), shares.clone()),
        (
            Loss::nll()
                .ignored_label(-100)
                .class_weights([1.0, 0.0, 2.0])
                .into(),
            of_classes.clone(),
        ),
        (Loss::mean_squared_error(), values.clone()),
        (Loss::smooth_l1(0.5), values.clone()),
        (Loss::huber(0.3), values.clone()),
        (Loss::kl_divergence(), shares.clone()),
        (
            Loss::binary_cross_entropy()
                .positive_weights([1], [2.0f32])
                .into(),
            shares.clone(),
        ),
        (Loss::dice().ignored_label(-100).into(), of_classes.clone()),
        (dice().sigmoid().into(), shares.clone()),
    ];
    for reduction in [Reduction::Mean, Reduction::Sum, Reduction::BatchMean] {
        all.push((dice().reduction(reduction).into(), of_classes.clone()));
        all.push((weighted().reduction(reduction).into(), of_classes.clone()));
        all.push((Loss::l1().reduction(reduction), values.clone()));
    }
    all
}

#[test]
fn the_loss_is_that_of_all_examples_as_one_batch() {
    let model = || Model::builder([2, 2, 2]).conv2d(3, 1).build().unwrap();
    let x = numbers(3, EXAMPLES * 8);
    let wide: Vec<f64> = x.iter().map(|&x| x.into()).collect();
    for (loss, target) in losses() {
        let optimizer = Optimizer::sgd(0.1);
        let reference = Reference::<f64>::new(&model(), loss.clone(), optimizer, 5).unwrap();
        let expected = reference.loss(&wide, &target).unwrap();
        let builder = Trainer::builder(model())
            .loss(loss.clone())
            .batch(3)
            .seed(5);
        for mut trainer in trainers(builder) {
            for sizes in [&[7][..], &[3, 3, 1], &[1, 4, 2]] {
                let mut begin = 0;
                let batches = split(&target, EXAMPLES, sizes).into_iter().zip(sizes);
                let batches = batches.map(|(target, size)| {
                    begin += size;
                    (&x[8 * (begin - size)..8 * begin], target)
                });
                let got = trainer.evaluate(batches).unwrap();
                assert!(
                    (got.loss - expected).abs() <= 2e-6 * expected.abs().max(1.0),
                    "{loss:?} in {sizes:?}: {} for {expected}",
                    got.loss
                );
                assert_eq!((got.examples, got.losses.len()), (7, 1));
                assert_eq!(got.losses[0].1, got.loss);
            }
        }
    }
}

/// What a training knows of itself.
fn state(trainer: &Trainer) -> Vec<Vec<f32>> {
    let names = trainer
        .model()
        .parameters()
        .map(|(name, _)| name.to_string());
    let names: Vec<String> = names.collect();
    let learned = names.iter().filter(|name| !name.contains("running_"));
    let gradients = learned.filter(|name| !name.contains("num_batches"));
    let mut all: Vec<Vec<f32>> = gradients
        .map(|name| trainer.gradient(name).unwrap())
        .collect();
    all.extend(names.iter().map(|name| trainer.parameter(name).unwrap()));
    all.push(vec![trainer.loss().unwrap()]);
    all
}

#[test]
fn a_training_goes_on_as_if_nothing_had_been_evaluated() {
    let front = Model::builder([1, 4, 4]).conv2d(4, 3).batch_norm().relu();
    let model = front.dropout(0.5).flatten().dense(3).build().unwrap();
    let builder = Trainer::builder(model)
        .batch(4)
        .accumulate(3)
        .clip_norm(0.5)
        .seed(3);
    let builder = builder.optimizer(Optimizer::adam(0.01));
    let evaluated = trainers(builder.clone()).into_iter();
    for (mut evaluated, mut alone) in evaluated.zip(trainers(builder)) {
        let test = [(numbers(9, 16 * 6), labels(9, 6, &[0, 1, 2]))];
        let mut last = None;
        for step in 0..8 {
            let size = 2 + step as usize % 3;
            let (x, y) = (numbers(step, 16 * size), labels(step, size, &[0, 1, 2]));
            evaluated.step(&x, &y).unwrap();
            let mut confusion = ConfusionMatrix::new();
            let evaluation = evaluated
                .evaluate_with(&test, &mut [&mut confusion])
                .unwrap();
            // The parameters have changed by every third step.
            let is_new = last.as_ref() != Some(&evaluation.loss);
            assert!(is_new || !(step + 1).is_multiple_of(3));
            last = Some(evaluation.loss);
            alone.step(&x, &y).unwrap();
            assert_eq!(state(&evaluated), state(&alone), "after step {step}");
        }
    }
}

fn two_outputs() -> (Model, Losses) {
    let mut net = Model::graph();
    let x = net.input([4]);
    let hidden = net.add("hidden", Linear::new(5), [x]).unwrap();
    let kind = net.add("kind", Linear::new(3), [hidden]).unwrap();
    let price = net.add("price", Linear::new(1), [hidden]).unwrap();
    let model = net.build([hidden, kind, price]).unwrap();
    let losses = Losses::of("price", Loss::huber(1.0), 0.25)
        .and("kind", Loss::cross_entropy().ignored_label(255), 2.0)
        .and("kind", Loss::cross_entropy().label_smoothing(0.5), 1.0);
    (model, losses)
}

#[test]
fn several_outputs_have_their_losses_and_metrics() {
    let (model, losses) = two_outputs();
    let (x, prices) = (numbers(1, 12), [0.5f32, -0.5, 2.0]);
    let [kinds, others] = [[0u8, 255, 2], [0, 1, 2]].map(Target::from);
    let targets = || [Target::from(prices), kinds.clone(), others.clone()];
    let builder = Trainer::builder(model.clone())
        .loss(losses.clone())
        .batch(2)
        .seed(1);
    for mut trainer in trainers(builder) {
        let (mut accuracy, mut errors) = (Accuracy::new().of("kind"), MeanErrors::new());
        let metrics: &mut [&mut dyn Metric] = &mut [&mut accuracy, &mut errors];
        let found = trainer.evaluate_with([(&x, targets())], metrics).unwrap();
        let names: Vec<&str> = found.losses.iter().map(|(name, _)| &name[..]).collect();
        assert_eq!(names, ["price", "kind", "kind"]);
        let [price, kind, smooth] = [0, 1, 2].map(|at| found.losses[at].1);
        assert!((found.loss - (0.25 * price + 2.0 * kind + smooth)).abs() < 1e-12);
        let reference = Reference::<f64>::new(&model, losses.clone(), Optimizer::sgd(0.1), 1);
        let wide: Vec<f64> = x.iter().map(|&x| x.into()).collect();
        let expected = reference.unwrap().loss(&wide, targets()).unwrap();
        assert!(
            (found.loss - expected).abs() < 1e-6,
            "{} {expected}",
            found.loss
        );
        // The ignored label is that of the first loss on the output.
        assert_eq!((accuracy.counted(), found.examples), (2, 3));
        assert_eq!(found.metric("kind accuracy"), Some(accuracy.value()));
        // Without a name it is the output of the first loss.
        let outputs = trainer.predict_all(&x).unwrap();
        let off = outputs[2]
            .1
            .iter()
            .zip(prices)
            .map(|(y, t)| f64::from((y - t).abs()));
        assert!((errors.absolute() - off.sum::<f64>() / 3.0).abs() < 1e-6);
        assert_eq!(found.metric("mean absolute error"), Some(errors.absolute()));
        assert_eq!(found.metric("nothing"), None);
        let columns = found.columns("test ");
        assert_eq!((&columns[0].0[..], columns[0].1), ("test loss", found.loss));
        let of_hidden = &mut [&mut Accuracy::new().of("hidden") as &mut dyn Metric];
        let error = trainer
            .evaluate_with([(&x, targets())], of_hidden)
            .unwrap_err();
        assert!(error.to_string().contains("has no loss"), "{error}");
    }
}

#[test]
fn what_cannot_be_evaluated_is_an_error() {
    let model = Model::builder([2]).dense(3).build().unwrap();
    let loss = Loss::cross_entropy().ignored_label(255);
    for mut trainer in trainers(Trainer::builder(model).loss(loss).batch(2)) {
        let (x, none) = ([0.5f32; 4], Vec::<(Vec<f32>, Vec<u8>)>::new());
        let error = trainer.evaluate(&none).unwrap_err();
        assert_eq!(error, Error::argument("batches", "there is none"));
        let empty = (vec![], vec![]);
        let error = trainer
            .evaluate([empty.clone(), empty.clone()])
            .unwrap_err();
        assert_eq!(error, Error::argument("batches", "there is none"));
        let some = (x.to_vec(), vec![1u8, 0]);
        let alone = trainer.evaluate([some.clone()]).unwrap();
        assert_eq!(
            trainer.evaluate([empty.clone(), some, empty]).unwrap(),
            alone
        );
        let file = Error::file("a.png".as_ref(), "is no picture");
        let batches = [Ok((x, [0u8, 1])), Err(file.clone())];
        assert_eq!(trainer.evaluate(batches).unwrap_err(), file);
        for error in [
            trainer.evaluate([(x, [0u8, 3])]),
            trainer.evaluate([(x, [0u8])]),
            trainer.evaluate([(&x[..3], [0u8])]),
            trainer.evaluate([(x, [0.5f32, 1.0])]),
        ] {
            assert!(
                matches!(error, Err(Error::Argument { .. } | Error::Shape { .. })),
                "{error:?}"
            );
        }
        // Nothing counts: NaN, as the mean of nothing in PyTorch.
        let nothing = trainer.evaluate([(x, [255u8, 255])]).unwrap();
        assert!(nothing.loss.is_nan());
        // Beside what counts, it is no part of the mean.
        let [all, part] = [vec![[255u8, 255], [1, 2]], vec![[1, 2]]].map(|labels| {
            let batches = labels.into_iter().map(|labels| (x, labels));
            trainer.evaluate(batches).unwrap().loss
        });
        assert_eq!(all, part);
    }
}

#[test]
fn losses_of_ones_own_leave_the_metrics_and_end_a_forward_pass() {
    let model = Model::builder([2]).dense(3).build().unwrap();
    let builder = Trainer::builder(model).loss(Losses::own_first()).batch(2);
    for mut trainer in trainers(builder) {
        let (x, mut accuracy) = ([0.5f32, 1.0, -1.0, 0.0], Accuracy::new());
        trainer.forward(&x).unwrap();
        let test = [(x, [0u8, 1])];
        let found = trainer.evaluate_with(test, &mut [&mut accuracy]).unwrap();
        assert!(found.loss.is_nan() && accuracy.counted() == 2);
        assert!(trainer.backward([&[0.0f32; 6]]).is_err());
        trainer.forward(&x).unwrap();
        trainer.backward([&[0.0f32; 6]]).unwrap();
    }
}
