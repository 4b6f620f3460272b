//! Inputs that are given as bytes: the bits of the same inputs given as numbers, in less memory.

use wgpu_cnn::data::{Array, IMAGENET, Random, Transforms};
use wgpu_cnn::engine::Reference;
use wgpu_cnn::{
    Accuracy, Add, Average, BatchNorm, Conv2d, Flatten, Gpu, Input, Inputs, Linear, Loss, Losses,
    MaxPool2d, Model, Optimizer, Probe, Trainer, TrainerBuilder,
};

use crate::common::{assert_error, bits, each_core, plain_gpu, random, state};

/// Elements of an image: their number is no multiple of four, and neither is that of a plane.
const IMAGE: [usize; 3] = [3, 7, 5];
const LEN: usize = 105;
const BATCH: usize = 3;

fn model() -> Model {
    let model = Model::builder(IMAGE).conv2d(6, 3).batch_norm().relu();
    model.dropout(0.3).flatten().dense(4).build().unwrap()
}

/// The same model that takes bytes.
fn of_bytes() -> Model {
    model().take_bytes("input", IMAGENET).unwrap()
}

/// So many images, as bytes and as a loader normalises them.
fn images(seed: u64, examples: usize) -> (Vec<u8>, Vec<f32>) {
    let mut random = random(seed);
    let bytes: Vec<u8> = (0..examples * LEN).map(|_| random.u8(..)).collect();
    let transforms = Transforms::new().normalise(IMAGENET);
    let numbers = bytes.chunks_exact(LEN).flat_map(|image| {
        let image = Array::new(IMAGE, image.to_vec()).unwrap();
        let image = transforms.apply(image, &mut Random::new(0, 0, 0));
        image.unwrap().to_floats()
    });
    let numbers = numbers.collect();
    (bytes, numbers)
}

fn on(builder: TrainerBuilder, gpu: Option<&Gpu>) -> Trainer {
    let made = match gpu {
        Some(gpu) => builder.on(gpu),
        None => builder.on_cpu(),
    };
    made.unwrap()
}

/// Both of them after whole and partial batches, all but their inputs alike.
fn assert_same_bits(
    name: &str,
    options: impl Fn(TrainerBuilder) -> TrainerBuilder,
    gpu: Option<&Gpu>,
) {
    let [mut numbers, mut bytes] = [model(), of_bytes()].map(|model| {
        let builder = Trainer::builder(model)
            .batch(BATCH)
            .optimizer(Optimizer::adam(0.01));
        on(options(builder.seed(5)), gpu)
    });
    for (step, examples) in [3, 2, 3, 1].into_iter().enumerate() {
        let (x, y) = images(step as u64, examples);
        let labels = vec![step as u8 % 4; examples];
        bytes.step(&x, &labels).unwrap();
        numbers.step(&y, &labels).unwrap();
        let losses = [&bytes, &numbers].map(|trainer| trainer.loss().unwrap().to_bits());
        assert_eq!(losses[0], losses[1], "{name}, step {step}");
    }
    assert_eq!(state(&bytes), state(&numbers), "{name}");
    // More than a batch, with a part of one at the end.
    let (x, y) = images(9, 7);
    let predicted = [bytes.predict(&x).unwrap(), numbers.predict(&y).unwrap()];
    assert_eq!(bits(&predicted[0]), bits(&predicted[1]), "{name}");
    let labels = [0u8, 1, 2, 3, 0, 1, 2];
    let evaluations = [
        bytes.evaluate_with([(&x[..], &labels[..])], &mut [&mut Accuracy::new()]),
        numbers.evaluate_with([(&y[..], &labels[..])], &mut [&mut Accuracy::new()]),
    ];
    let [of_bytes, of_numbers] = evaluations.map(Result::unwrap);
    assert_eq!(of_bytes, of_numbers, "{name}");
    let predictors = [&bytes, &numbers].map(|trainer| {
        let builder = trainer.predictor().unwrap().batches([1, BATCH]);
        match gpu {
            Some(gpu) => builder.on(gpu).unwrap(),
            None => builder.on_cpu().unwrap(),
        }
    });
    for examples in [1, 3, 2, 7] {
        let (x, y) = images(10, examples);
        let got = [
            predictors[0].predict(&x).unwrap(),
            predictors[1].predict(&y).unwrap(),
        ];
        assert_eq!(bits(&got[0]), bits(&got[1]), "{name}, {examples}");
    }
}

#[test]
fn bytes_give_the_bits_of_the_numbers_that_they_stand_for() {
    let devices = each_core().map(|(name, gpu)| (name, Some(gpu)));
    for (at, (device, gpu)) in devices.chain([("cpu", None)]).enumerate() {
        let half = at % 2 == 1 && gpu.is_some_and(Gpu::has_half_precision);
        let name = format!("{device}, half {half}");
        let options = |builder: TrainerBuilder| {
            let builder = builder.half_precision(half);
            match at % 3 {
                0 => builder.accumulate(2),
                1 => builder.average(Average::ema(0.9)).clip_norm(0.5),
                _ => builder.freeze("0.*"),
            }
        };
        assert_same_bits(&name, options, gpu);
    }
}

#[test]
fn looks_and_passes_of_ones_own_take_bytes() {
    for gpu in [plain_gpu(), None] {
        let looks = |model: Model| {
            let builder = Probe::builder(model).batch(BATCH).training(true).seed(4);
            let builder = builder.values(["input", "0"]).gradients(["input", "0"]);
            match gpu {
                Some(gpu) => builder.on(gpu).unwrap(),
                None => builder.on_cpu().unwrap(),
            }
        };
        let (mut bytes, mut numbers) = (looks(of_bytes()), looks(model()));
        for examples in [3, 2] {
            let ((x, y), labels) = (images(2, examples), vec![1u8; examples]);
            let got = bytes.run(&x, &labels).unwrap();
            assert_eq!(got, numbers.run(&y, &labels).unwrap());
            assert_eq!(bits(got.value("input").unwrap()), bits(&y));
        }
        let [mut bytes, mut numbers] = [of_bytes(), model()].map(|model| {
            let builder = Trainer::builder(model)
                .batch(BATCH)
                .loss(Losses::own_first());
            on(builder.input_gradients(true), gpu)
        });
        let (x, y) = images(3, 2);
        let gradient = [[0.5, -0.25, 0.125, 1.0]; 2].concat();
        assert_eq!(bytes.forward(&x).unwrap(), numbers.forward(&y).unwrap());
        for trainer in [&mut bytes, &mut numbers] {
            trainer.backward(&gradient).unwrap();
            trainer.update().unwrap();
        }
        assert_eq!(state(&bytes), state(&numbers));
        let gradients = [&bytes, &numbers].map(|trainer| {
            let gradient = trainer.input_gradient(0).unwrap();
            gradient.to_vec().unwrap()
        });
        assert_eq!(gradients[0], gradients[1]);
        // What is held on a device is numbers.
        let held = bytes.hold([2, 3, 7, 5], &y).unwrap();
        assert_error(
            bytes.forward_held(&[&held]),
            "argument",
            &["input", "bytes"],
        );
    }
}

#[test]
fn a_checkpoint_goes_on_from_numbers_to_bytes() {
    for gpu in [plain_gpu(), None] {
        let builder = |model: Model| Trainer::builder(model).batch(BATCH).seed(3);
        let (mut numbers, (x, y)) = (on(builder(model()), gpu), images(1, 3));
        numbers.step(&y, [0u8, 1, 2]).unwrap();
        let checkpoint = numbers.checkpoint_bytes().unwrap();
        let mut bytes = on(builder(of_bytes()).resume_bytes(checkpoint), gpu);
        bytes.step(&x, [3u8, 1, 2]).unwrap();
        numbers.step(&y, [3u8, 1, 2]).unwrap();
        assert_eq!(state(&bytes), state(&numbers));
    }
}

#[test]
fn bytes_take_a_quarter_on_their_way() {
    let Some(gpu) = plain_gpu() else { return };
    let memory = |model: Model| {
        let trainer = Trainer::builder(model)
            .batch(64)
            .in_flight(1)
            .on(gpu)
            .unwrap();
        let predictor = trainer.predictor().unwrap().on(gpu).unwrap();
        [trainer.memory().unwrap(), predictor.memory().unwrap()]
    };
    let model = Model::builder([3, 32, 32]).conv2d(2, 32).flatten().dense(2);
    let model = model.build().unwrap();
    let images = 64 * 3 * 32 * 32;
    let numbers = memory(model.clone());
    let bytes = memory(model.take_bytes("input", IMAGENET).unwrap());
    for (at, (numbers, bytes)) in numbers.iter().zip(&bytes).enumerate() {
        // The params of a kernel more are nothing beside it.
        let saved = numbers.staging - bytes.staging;
        assert!(
            saved > 3 * images - 4096 && saved <= 3 * images,
            "{at}: {numbers}, {bytes}"
        );
        assert!(bytes.batch + 3 * images >= numbers.batch);
    }
    assert_eq!(numbers[0].batch - bytes[0].batch, 3 * images);
}

/// Two inputs of which one is given as bytes, with one mean for all of its channels.
fn mixed() -> Model {
    let mut net = Model::graph();
    let (image, numbers) = (net.input([2, 3, 3]), net.input([4]));
    let flat = net.apply(Flatten, [image]).unwrap();
    let [one, two] = [flat, numbers].map(|value| net.apply(Linear::new(3), [value]).unwrap());
    let sum = net.apply(Add, [one, two]).unwrap();
    net.build([sum]).unwrap()
}

#[test]
fn one_of_several_inputs_may_be_bytes() {
    let model = mixed().take_bytes("input", [[0.5], [0.25]]).unwrap();
    assert!(model.to_string().contains("input of bytes"), "{model}");
    let image: Vec<u8> = (0..36).map(|at| at * 7).collect();
    let same: Vec<f32> = image
        .iter()
        .map(|&byte| (f32::from(byte) / 255.0 - 0.5) / 0.25)
        .collect();
    let numbers = [0.5f32, -1.0, 2.0, 0.0, 1.5, 1.0, -0.5, 0.25];
    for gpu in [plain_gpu(), None] {
        let trainer = |model: Model| {
            let builder = Trainer::builder(model).loss(Loss::mean_squared_error());
            on(builder.batch(2).seed(1), gpu)
        };
        let (mut bytes, mut floats) = (trainer(model.clone()), trainer(mixed()));
        let given = || Inputs::from([Input::Bytes(&image), Input::Numbers(&numbers)]);
        bytes.step(given(), [0.5f32; 6]).unwrap();
        floats.step([&same[..], &numbers], [0.5f32; 6]).unwrap();
        assert_eq!(state(&bytes), state(&floats));
        let swapped = Inputs::from([Input::Numbers(&same), Input::Bytes(&[0; 8])]);
        assert_error(bytes.predict(swapped), "argument", &["input", "bytes"]);
        let count = [&image[..], &image].map(Input::Bytes);
        assert_error(
            bytes.predict(Inputs::from(count)),
            "argument",
            &["input 1", "bytes"],
        );
    }
    // The reference in double precision starts from the very same numbers.
    let mut reference =
        Reference::<f64>::new(&model, Loss::mean_squared_error(), Optimizer::sgd(0.1), 1).unwrap();
    let wide: Vec<f64> = numbers.iter().map(|&number| number.into()).collect();
    let given = Inputs::from([Input::Bytes(&image), Input::Numbers(&wide)]);
    let loss = reference.step(given, [0.5f32; 6]).unwrap();
    let mut other =
        Reference::<f64>::new(&mixed(), Loss::mean_squared_error(), Optimizer::sgd(0.1), 1)
            .unwrap();
    let same: Vec<f64> = same.iter().map(|&number| number.into()).collect();
    assert_eq!(loss, other.step([&same[..], &wide], [0.5f32; 6]).unwrap());
}

#[test]
fn what_does_not_fit_is_refused() {
    let other = model().take_bytes("image", IMAGENET);
    assert_error(other, "argument", &["\"image\"", "\"input\""]);
    let two = model().take_bytes("input", [[0.5; 2], [0.5; 2]]);
    assert_error(two, "shape", &["means, 2", "[3, 7, 5]"]);
    assert_error(
        model().take_bytes("input", [[], []]),
        "shape",
        &["means, 0"],
    );
    let mean = model().take_bytes("input", [[f32::NAN], [1.0]]);
    assert_error(mean, "argument", &["mean", "NaN"]);
    for deviation in [0.0, -1.0, f32::INFINITY, f32::NAN] {
        let taken = model().take_bytes("input", [[0.5], [deviation]]);
        assert_error(taken, "argument", &["deviation"]);
    }
    // The last counts.
    let again = model().take_bytes("input", [[0.0], [1.0]]).unwrap();
    assert_eq!(again.take_bytes("input", IMAGENET).unwrap(), of_bytes());
    for gpu in [plain_gpu(), None] {
        let mut bytes = on(Trainer::builder(of_bytes()).batch(BATCH), gpu);
        let mut numbers = on(Trainer::builder(model()).batch(BATCH), gpu);
        let (x, y) = images(1, 2);
        assert_error(bytes.step(&y, [0u8, 1]), "argument", &["input", "bytes"]);
        assert_error(
            numbers.step(&x, [0u8, 1]),
            "argument",
            &["input", "take_bytes"],
        );
        assert_error(numbers.predict(&x), "argument", &["input", "take_bytes"]);
        assert_error(bytes.predict(&x[1..]), "shape", &["whole examples"]);
        assert_error(bytes.predict(&[0u8; 0]), "shape", &["whole examples"]);
        assert_error(
            bytes.step(&images(1, 4).0, [0u8; 4]),
            "shape",
            &["at most 3"],
        );
        let mut own = on(Trainer::builder(of_bytes()).loss(Losses::own_first()), gpu);
        own.forward(&x).unwrap();
        assert_error(own.backward(&[0u8; 8]), "argument", &["gradients", "bytes"]);
    }
}

#[test]
fn the_kernel_is_verified_with_the_others() {
    let Some(gpu) = plain_gpu() else { return };
    let half = gpu.has_half_precision();
    let builder = Trainer::builder(of_bytes())
        .batch(BATCH)
        .half_precision(half);
    let reports = [
        gpu.verify(&of_bytes(), BATCH),
        builder.on(gpu).unwrap().verify(),
    ];
    for report in reports {
        let report = report.unwrap();
        assert!(report.passed(), "{report}");
        let checks = report.checks.iter();
        let own: Vec<_> = checks.filter(|check| check.kernel == "bytes").collect();
        // In training and in evaluation.
        assert_eq!(own.len(), 2, "{report}");
        assert!(own.iter().all(|check| check.worst == 0.0), "{report}");
    }
}

/// An input that is an output as well, and that nothing needs once the first layer has read it.
#[test]
fn an_input_that_is_handed_out_stays_until_it_is_read() {
    let model = || {
        let mut net = Model::graph();
        let x = net.input(IMAGE);
        let y = net.add("pool", MaxPool2d::new(2), [x]).unwrap();
        let y = net.add("norm", BatchNorm::new(), [y]).unwrap();
        let y = net.add("conv", Conv2d::new(16, 3).padding(1), [y]).unwrap();
        let y = net.add("flat", Flatten, [y]).unwrap();
        let y = net.add("dense", Linear::new(4), [y]).unwrap();
        let model = net.build([y, x]).unwrap();
        model.take_bytes("input", IMAGENET).unwrap()
    };
    let (x, numbers) = images(3, BATCH);
    for (device, gpu) in each_core() {
        let builder = Trainer::builder(model()).batch(BATCH);
        let builder = builder.loss(Losses::own("dense"));
        let mut trainer = builder.on(gpu).unwrap();
        for outputs in [trainer.forward(&x), trainer.predict_all(&x)] {
            let outputs = outputs.unwrap();
            let handed = outputs.iter().find(|(name, _)| name == "input").unwrap();
            assert_eq!(bits(&handed.1), bits(&numbers), "{device}");
        }
    }
}
