//! Gradients of biases, which kernels of weight gradients sum on the way where they can: whole numbers, whose sums are
//! exact in any order, on every core and in both precisions.

use wgpu_cnn::{
    Conv2d, Gpu, Linear, Loss, Model, Op, Optimizer, Reduction, Reference, Target, Trainer,
};

use crate::common::{each_core, integers, poisoned_gpus, random, wide};
use crate::compare::assert_same;

struct Case {
    name: &'static str,
    input: &'static [usize],
    layer: Op,
    batch: usize,
}

fn case(name: &'static str, input: &'static [usize], layer: impl Into<Op>, batch: usize) -> Case {
    Case {
        name,
        input,
        layer: layer.into(),
        batch,
    }
}

fn cases() -> [Case; 8] {
    let same = |channels, kernel| Conv2d::new(channels, kernel).padding(1);
    [
        case("fewer rows than a tile", &[70], Linear::new(5), 7),
        case("more rows than a tile", &[70], Linear::new(131), 67),
        case("rows of a matrix", &[5, 9], Linear::new(18), 3),
        case("a tile in part", &[17, 6, 7], same(33, 3), 5),
        case("half a tile", &[1, 9, 8], Conv2d::new(6, 5), 3),
        case(
            "a filter in chunks",
            &[2, 5, 14],
            Conv2d::new(19, [1, 11]),
            3,
        ),
        case("groups", &[12, 6, 5], same(54, 3).groups(3), 2),
        case("strides", &[5, 9, 12], same(20, 3).stride(2).dilation(2), 3),
    ]
}

/// Sums in parts, and in more than one kernel adds up, and tiles of 64 rows.
fn large_cases() -> [Case; 3] {
    [
        case("examples in parts", &[20], Linear::new(6), 1100),
        case("many splits", &[1, 8192, 6], Conv2d::new(3, [1, 3]), 5),
        case("tall tiles", &[990], Linear::new(1030), 67),
    ]
}

/// Holds the gradients that a step makes, of all parameters that are not frozen.
fn assert_exact(
    case: &Case,
    frozen: &[Option<&str>],
    half: &[bool],
    gpus: &[(&'static str, &Gpu)],
) {
    let model = Model::builder(case.input).push(case.layer.clone());
    let model = model.build().unwrap();
    let (loss, optimizer) = (
        Loss::mean_squared_error().reduction(Reduction::Sum),
        Optimizer::sgd(0.0),
    );
    let mut rng = random(case.batch as u64);
    let parameters: Vec<(String, Vec<f32>)> = model
        .parameters()
        .map(|(name, shape)| (name.into(), integers(&mut rng, shape.len())))
        .collect();
    let [x, y] = [model.input_shape(), model.output_shape()]
        .map(|shape| integers(&mut rng, case.batch * shape.len()));
    let mut reference = Reference::<f64>::new(&model, loss.clone(), optimizer, 0).unwrap();
    for (name, values) in &parameters {
        reference.set_parameter(name, &wide(values)).unwrap();
    }
    let target = Target::Values(y);
    reference.loss_and_gradients(&wide(&x), &target).unwrap();
    for &(device, gpu) in gpus {
        let precisions = half
            .iter()
            .filter(|&&half| !half || gpu.has_half_precision());
        for (&half, &frozen) in precisions.flat_map(|half| frozen.iter().map(move |of| (half, of)))
        {
            let builder = Trainer::builder(model.clone()).batch(case.batch);
            let builder = builder.loss(loss.clone()).optimizer(optimizer);
            let builder = builder.half_precision(half);
            let builder = match frozen {
                Some(name) => builder.freeze(name),
                None => builder,
            };
            let mut trainer = builder.on(gpu).unwrap();
            for (name, values) in &parameters {
                trainer.set_parameter(name, values).unwrap();
            }
            trainer.step(&x, target.clone()).unwrap();
            let learned = parameters
                .iter()
                .filter(|(name, _)| Some(name.as_str()) != frozen);
            for (name, _) in learned {
                let expected: Vec<f32> = reference
                    .gradient(name)
                    .unwrap()
                    .iter()
                    .map(|&v| v as f32)
                    .collect();
                let what = format!(
                    "{name} of {}, half {half}, {frozen:?} frozen, {device}",
                    case.name
                );
                assert_same(&what, &trainer.gradient(name).unwrap(), &expected);
            }
        }
    }
}

#[test]
fn gradients_of_biases_are_exact_on_every_core() {
    // Fast algorithms round.
    let gpus =
        each_core().filter(|(device, _)| !["winograd", "fft"].iter().any(|of| device.contains(of)));
    let gpus: Vec<_> = gpus.collect();
    for case in &cases() {
        assert_exact(case, &[None], &[false, true], &gpus);
    }
}

#[test]
fn gradients_of_biases_are_exact_without_those_of_weights_and_of_many_values() {
    let gpus: Vec<_> = poisoned_gpus().collect();
    for case in &cases() {
        assert_exact(case, &[Some("0.weight"), Some("0.bias")], &[false], &gpus);
    }
    for case in &large_cases() {
        assert_exact(case, &[None], &[false], &gpus);
    }
}
