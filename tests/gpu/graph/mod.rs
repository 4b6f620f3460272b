//! Graphs that are no chain: several inputs, several outputs each with a loss, values used in many places,
//! layers that share parameters, what is constant, and a loss of one's own.

mod outputs;
mod own;
mod unlearned;

use wgpu_cnn::engine::Reference;
use wgpu_cnn::{
    Activation, Add, BatchNorm, Concat, Conv2d, Flatten, GlobalPool, Inputs, Linear, Loss, Losses,
    Model, Optimizer, Reduction, Result, Target, Targets, Trainer, TrainerBuilder,
};

use crate::common::{assert_error, each_gpu, labels, poisoned_gpus, random, uniform, wide};

const BATCH: usize = 5;

/// An image and numbers, in two towers that meet; a head and an auxiliary one; features without a loss.
fn towers() -> Result<Model> {
    let mut net = Model::graph();
    let image = net.input([2, 6, 6]);
    let numbers = net.input([3]);
    let ramp: Vec<f32> = (0..36).map(|at| at as f32 / 36.0 - 0.5).collect();
    let mask = net.constant("mask", [1, 6, 6], ramp)?;
    let seen = net.apply(Concat, [image, mask])?;
    let stem = net.add("stem", Conv2d::new(4, 3).padding(1).bias(false), [seen])?;
    let y = net.add("bn", BatchNorm::new(), [stem])?;
    let y = net.apply(Activation::Relu, [y])?;
    // Two uses of one value, and a third beside them.
    let a = net.add("a", Conv2d::new(4, 1), [y])?;
    let b = net.add("b", Conv2d::new(4, 3).padding(1), [y])?;
    let joined = net.apply(Add, [a, b])?;
    let joined = net.apply(Add, [joined, y])?;
    let pooled = net.apply(GlobalPool::Average, [joined])?;
    let features = net.add("features", Flatten, [pooled])?;
    let told = net.chain("told", numbers, |chain| chain.dense(4).tanh())?;
    let both = net.apply(Concat, [features, told])?;
    let class = net.add("class", Linear::new(3), [both])?;
    let early = net.chain("early", a, |chain| chain.flatten().dense(2))?;
    net.build([class, early, features])
}

fn losses() -> Losses {
    Losses::of("class", Loss::cross_entropy(), 1.0).and("early.1", Loss::mean_squared_error(), 0.25)
}

/// One tower for two images, used twice with the same parameters, their statistics too.
fn siamese() -> Result<Model> {
    let mut net = Model::graph();
    let inputs = [(); 2].map(|()| net.input([1, 5, 5]));
    let mut ends = Vec::new();
    for (at, image) in inputs.into_iter().enumerate() {
        let layer = |name: &str| format!("{name}.{at}");
        let mut y = image;
        if at == 0 {
            y = net.add("conv", Conv2d::new(3, 3), [y])?;
            y = net.add("bn", BatchNorm::new(), [y])?;
        } else {
            y = net.share("conv", &layer("conv"), [y])?;
            y = net.share("bn", &layer("bn"), [y])?;
        }
        y = net.apply(Activation::Tanh, [y])?;
        ends.push(net.apply(Flatten, [y])?);
    }
    let y = net.apply(Concat, ends)?;
    let y = net.add("fc", Linear::new(2), [y])?;
    net.build([y])
}

/// What a step of a model takes.
struct Data {
    inputs: Vec<Vec<f32>>,
    targets: Vec<Target>,
}

fn of_towers(seed: u64, batch: usize) -> Data {
    let rng = &mut random(seed);
    Data {
        inputs: vec![uniform(rng, batch * 72), uniform(rng, batch * 3)],
        targets: vec![labels(rng, batch, 3).into(), uniform(rng, batch * 2).into()],
    }
}

fn of_siamese(seed: u64, batch: usize) -> Data {
    let rng = &mut random(seed);
    Data {
        inputs: [(); 2].map(|()| uniform(rng, batch * 25)).into(),
        targets: vec![labels(rng, batch, 2).into()],
    }
}

impl Data {
    fn inputs(&self) -> Inputs<'_> {
        self.inputs.iter().map(Vec::as_slice).collect()
    }

    fn targets(&self) -> Targets {
        self.targets.clone().into()
    }
}

fn near(name: &str, got: &[f32], expected: &[f64]) {
    assert_eq!(got.len(), expected.len(), "{name}");
    let largest = expected
        .iter()
        .fold(1e-2, |most: f64, value| most.max(value.abs()));
    for (at, (&got, &expected)) in got.iter().zip(expected).enumerate() {
        let off = (f64::from(got) - expected).abs();
        assert!(
            off <= 2e-5 * largest,
            "{name}[{at}]: {got}, expected {expected}"
        );
    }
}

/// A trainer and the reference in `f64` take the same steps, the last one of a smaller batch.
fn assert_steps(
    name: &str,
    (model, losses): (&Model, &Losses),
    data: fn(u64, usize) -> Data,
    accumulate: usize,
    trainer: impl Fn(TrainerBuilder) -> Trainer,
) {
    let optimizer = Optimizer::sgd(0.1).momentum(0.9);
    let mut reference = Reference::<f64>::new(model, losses.clone(), optimizer, 3).unwrap();
    reference.set_accumulate(accumulate).unwrap();
    let builder = Trainer::builder(model.clone())
        .loss(losses.clone())
        .batch(BATCH);
    let builder = builder.optimizer(optimizer).seed(3).accumulate(accumulate);
    let mut trainer = trainer(builder);
    for (step, batch) in [BATCH, BATCH, BATCH, 2].into_iter().enumerate() {
        let data = data(step as u64, batch);
        let wide: Vec<Vec<f64>> = data.inputs.iter().map(|input| wide(input)).collect();
        let wide: Inputs<f64> = wide.iter().map(Vec::as_slice).collect();
        trainer.step(data.inputs(), data.targets()).unwrap();
        let loss = reference.step(wide.clone(), data.targets()).unwrap();
        near(
            &format!("{name}: loss {step}"),
            &[trainer.loss().unwrap()],
            &[loss],
        );
        let names: Vec<&str> = model.parameters().map(|(name, _)| name).collect();
        for parameter in names {
            let of = format!("{name}: {parameter} after step {step}");
            let got = trainer.parameter(parameter).unwrap();
            near(&of, &got, reference.parameter(parameter).unwrap());
            if let Ok(gradient) = reference.gradient(parameter) {
                near(
                    &format!("gradient of {of}"),
                    &trainer.gradient(parameter).unwrap(),
                    gradient,
                );
            }
        }
        let outputs = trainer.predict_all(data.inputs()).unwrap();
        let expected = reference.forward_all(wide).unwrap();
        assert_eq!(outputs.len(), expected.len());
        for ((output, got), expected) in outputs.iter().zip(&expected) {
            near(
                &format!("{name}: {output} after step {step}"),
                got,
                expected,
            );
        }
        assert_eq!(outputs[0].1, trainer.predict(data.inputs()).unwrap());
    }
}

#[test]
fn graphs_train_as_the_reference_says() {
    let (towers, siamese, first) = (
        towers().unwrap(),
        siamese().unwrap(),
        Loss::default().into(),
    );
    for accumulate in [1, 2] {
        let both = |name: &str, trainer: &dyn Fn(TrainerBuilder) -> Trainer| {
            let several = (&towers, &losses());
            assert_steps(
                &format!("towers, {name}"),
                several,
                of_towers,
                accumulate,
                trainer,
            );
            let one = (&siamese, &first);
            assert_steps(
                &format!("siamese, {name}"),
                one,
                of_siamese,
                accumulate,
                trainer,
            );
        };
        both("cpu", &|builder| builder.on_cpu().unwrap());
        for (name, gpu) in each_gpu() {
            both(name, &|builder| builder.on(gpu).unwrap());
        }
    }
}

#[test]
fn graphs_are_verified_whole() {
    for (name, gpu) in poisoned_gpus() {
        for model in [towers(), siamese()] {
            let report = gpu.verify(&model.unwrap(), BATCH).unwrap();
            assert!(report.passed(), "{name}: {report}");
        }
        let builder = Trainer::builder(towers().unwrap())
            .loss(losses())
            .batch(BATCH);
        let mut trainer = builder.accumulate(2).clip_norm(1.0).on(gpu).unwrap();
        let report = trainer.verify().unwrap();
        assert!(report.passed(), "{name}: {report}");
    }
}

#[test]
fn losses_are_given_each_and_in_all() {
    for trainer in trainers(
        Trainer::builder(towers().unwrap())
            .loss(losses())
            .batch(BATCH),
    ) {
        let mut trainer = trainer;
        assert_error(trainer.losses(), "argument", &["no step has been made"]);
        let data = of_towers(7, BATCH);
        trainer.step(data.inputs(), data.targets()).unwrap();
        let each = trainer.losses().unwrap();
        let names: Vec<&str> = each.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["class", "early.1"]);
        let total = f64::from(each[0].1) + 0.25 * f64::from(each[1].1);
        near("total", &[trainer.loss().unwrap()], &[total]);
    }
}

/// On the CPU and on a GPU.
fn trainers(builder: TrainerBuilder) -> Vec<Trainer> {
    let gpu = poisoned_gpus().next();
    let on_gpu = gpu.map(|(_, gpu)| builder.clone().on(gpu).unwrap());
    [builder.on_cpu().unwrap()]
        .into_iter()
        .chain(on_gpu)
        .collect()
}

/// Two losses of one output are one loss of their sum, and so are those of a value and its view.
#[test]
fn losses_of_one_value_add_up() {
    let model = |view: bool| {
        let mut net = Model::graph();
        let x = net.input([4]);
        let y = net.add("y", Linear::new(3), [x]).unwrap();
        let flat = net.add("flat", Flatten, [y]).unwrap();
        net.build(if view { vec![y, flat] } else { vec![flat] })
            .unwrap()
    };
    let squared = || Loss::mean_squared_error().reduction(Reduction::Sum);
    let alone = Losses::of("flat", squared(), 3.0);
    let twice = Losses::of("flat", squared(), 1.0).and("flat", squared(), 2.0);
    let of_view = Losses::of("y", squared(), 1.0).and("flat", squared(), 2.0);
    let (rng, mut gradients) = (&mut random(5), Vec::new());
    let (x, target) = (uniform(rng, 4 * BATCH), uniform(rng, 3 * BATCH));
    for (view, losses, count) in [(false, alone, 1), (false, twice, 2), (true, of_view, 2)] {
        for mut trainer in trainers(
            Trainer::builder(model(view))
                .loss(losses.clone())
                .batch(BATCH),
        ) {
            trainer.step(&x, vec![&target; count]).unwrap();
            gradients.push(trainer.gradient("y.weight").unwrap());
        }
    }
    let first = wide(&gradients[0]);
    gradients
        .iter()
        .for_each(|gradient| near("gradient", gradient, &first));
}

#[test]
fn batches_that_do_not_fit_are_refused_by_name() {
    for mut trainer in trainers(
        Trainer::builder(towers().unwrap())
            .loss(losses())
            .batch(BATCH),
    ) {
        let data = of_towers(1, BATCH);
        let (image, numbers) = (&data.inputs[0], &data.inputs[1]);
        let refused = |result: Result<()>, words: &[&str]| assert_error(result, "shape", words);
        refused(trainer.step(image, data.targets()), &["inputs", "2"]);
        let short = [&image[..], &numbers[3..]];
        refused(
            trainer.step(short, data.targets()),
            &["input 1", "5 examples"],
        );
        let broken = [&image[..], &numbers[1..]];
        refused(trainer.step(broken, data.targets()), &["input 1", "[3]"]);
        refused(
            trainer.step(data.inputs(), data.targets[0].clone()),
            &["targets", "2"],
        );
    }
    let build = |losses: Losses| Trainer::builder(towers().unwrap()).loss(losses).on_cpu();
    let unknown = Losses::of("nothing", Loss::default(), 1.0);
    assert_error(
        build(unknown),
        "argument",
        &["nothing", "\"class\", \"early.1\", \"features\""],
    );
    let mixed = losses().and_own("features");
    assert_error(build(mixed), "argument", &["all of them are the caller's"]);
    let endless = Losses::of("class", Loss::default(), f64::INFINITY);
    assert_error(build(endless), "argument", &["weight of the loss of class"]);
    let summed = losses().and(
        "features",
        Loss::mean_squared_error().reduction(Reduction::Sum),
        1.0,
    );
    let summed = Trainer::builder(towers().unwrap())
        .loss(summed)
        .accumulate(2);
    assert_error(
        summed.on_cpu(),
        "argument",
        &["accumulate", "these are both"],
    );
}
