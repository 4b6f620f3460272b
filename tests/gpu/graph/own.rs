//! Losses that the caller computes.

use super::*;

/// A loss of one's own that is the mean squared error gives what that gives.
#[test]
fn a_loss_of_ones_own_trains_as_a_loss_of_the_library() {
    let model = || {
        let front = Model::builder([1, 4, 4]).conv2d(3, 3).batch_norm().relu();
        front.flatten().dropout(0.25).dense(2).build().unwrap()
    };
    let builder = || {
        Trainer::builder(model())
            .batch(BATCH)
            .optimizer(Optimizer::sgd(0.1).momentum(0.9))
            .seed(4)
    };
    let own = trainers(builder().loss(Losses::own("5")));
    for (mut own, mut library) in own
        .into_iter()
        .zip(trainers(builder().loss(Loss::mean_squared_error())))
    {
        for (step, batch) in [BATCH, 3, BATCH].into_iter().enumerate() {
            let rng = &mut random(step as u64);
            let (x, target) = (uniform(rng, 16 * batch), uniform(rng, 2 * batch));
            library.step(&x, &target).unwrap();
            let outputs = own.forward(&x).unwrap();
            let count = target.len() as f32;
            let pairs = outputs[0].1.iter().zip(&target);
            let gradient: Vec<f32> = pairs.map(|(y, t)| 2.0 * (y - t) / count).collect();
            own.backward([&gradient]).unwrap();
            near(
                "gradient",
                &own.gradient("5.weight").unwrap(),
                &wide(&library.gradient("5.weight").unwrap()),
            );
            own.update().unwrap();
            for (name, _) in model().parameters() {
                let expected = wide(&library.parameter(name).unwrap());
                near(
                    &format!("{name} after step {step}"),
                    &own.parameter(name).unwrap(),
                    &expected,
                );
            }
        }
    }
}

#[test]
fn gradients_of_ones_own_add_up_where_that_was_asked_for() {
    let builder = || {
        let model = Model::builder([3]).dense(2).build().unwrap();
        Trainer::builder(model).loss(Losses::own("0")).batch(2)
    };
    let x = [0.5, -1.0, 2.0, 1.5, 0.25, -0.5];
    for mut trainer in trainers(builder().accumulate(4)) {
        for _ in 0..3 {
            trainer.forward(&x).unwrap();
            trainer.backward(&[1.0, 0.0, 1.0, 0.0]).unwrap();
        }
        let gradient = trainer.gradient("0.weight").unwrap();
        near("sum", &gradient, &[6.0, -2.25, 4.5, 0.0, 0.0, 0.0]);
        trainer.update().unwrap();
    }
    for mut trainer in trainers(builder()) {
        assert_error(
            trainer.backward(&[0.0; 4]),
            "argument",
            &["forward pass just before"],
        );
        trainer.forward(&x).unwrap();
        trainer.predict(&x).unwrap();
        assert_error(
            trainer.backward(&[0.0; 4]),
            "argument",
            &["forward pass just before"],
        );
        trainer.forward(&x).unwrap();
        assert_error(
            trainer.backward(&[0.0; 3]),
            "shape",
            &["gradient of 0", "[2, 2]"],
        );
        assert_error(
            trainer.backward([&[0.0; 4], &[0.0; 4]]),
            "shape",
            &["gradients"],
        );
        trainer.backward(&[0.0; 4]).unwrap();
        trainer.forward(&x).unwrap();
        assert_error(
            trainer.backward(&[0.0; 4]),
            "argument",
            &["an update is due"],
        );
        trainer.update().unwrap();
        assert_error(
            trainer.step(&x, &[0.0; 4]),
            "argument",
            &["is the caller's"],
        );
        assert_error(trainer.loss(), "argument", &["is the caller's"]);
    }
}

/// On the CPU and on a GPU alike, what has changed since a forward pass is nothing to go back through.
#[test]
fn a_forward_pass_is_over_once_anything_else_has_run() {
    let model = Model::builder([3]).dense(2).build().unwrap();
    let builder = Trainer::builder(model)
        .loss(Losses::own_first())
        .batch(2)
        .accumulate(4);
    let x = [0.5, -1.0, 2.0, 1.5, 0.25, -0.5];
    type Use = fn(&mut Trainer) -> Result<()>;
    let uses: [(bool, Use); 6] = [
        (true, |trainer| trainer.predict(&[0.0; 3]).map(drop)),
        (true, |trainer| trainer.set_parameter("0.bias", &[1.0, 2.0])),
        (true, Trainer::update),
        // What only reads, or does nothing, leaves it.
        (false, |trainer| trainer.parameter("0.weight").map(drop)),
        (false, |trainer| trainer.gradient("0.weight").map(drop)),
        (false, |trainer| trainer.set_learning_rate(0.5)),
    ];
    for mut trainer in trainers(builder) {
        for (at, (over, other)) in uses.iter().enumerate() {
            trainer.forward(&x).unwrap();
            trainer.backward(&[1.0; 4]).unwrap();
            trainer.forward(&x).unwrap();
            other(&mut trainer).unwrap();
            let result = trainer.backward(&[1.0; 4]);
            match over {
                true => assert_error(result, "argument", &["forward pass just before"]),
                false => result.unwrap_or_else(|error| panic!("{at}: {error}")),
            }
        }
        // There is nothing to update, and nothing happens.
        trainer.update().unwrap();
        trainer.forward(&x).unwrap();
        trainer.update().unwrap();
        trainer.backward(&[1.0; 4]).unwrap();
    }
}

/// Losses of one's own of a value in the middle and, twice, of the end are what losses of the library are.
#[test]
fn losses_of_ones_own_of_several_outputs_add_up() {
    let mut net = Model::graph();
    let x = net.input([4]);
    let middle = net.add("middle", Linear::new(3), [x]).unwrap();
    let y = net.apply(Activation::Tanh, [middle]).unwrap();
    let end = net.add("end", Linear::new(2), [y]).unwrap();
    let model = net.build([end, middle]).unwrap();
    let squared = || Loss::mean_squared_error().reduction(Reduction::Sum);
    let library = Losses::of("middle", squared(), 1.0)
        .and("end", squared(), 1.0)
        .and("end", squared(), 2.0);
    let own = Losses::own("middle").and_own("end").and_own("end");
    let builder = |losses: &Losses| {
        let builder = Trainer::builder(model.clone()).loss(losses.clone());
        builder.batch(3).optimizer(Optimizer::sgd(0.1)).seed(6)
    };
    let rng = &mut random(11);
    let (x, middles, ends) = (uniform(rng, 12), uniform(rng, 9), uniform(rng, 6));
    let off = |y: &[f32], targets: &[f32], factor: f32| -> Vec<f32> {
        let pairs = y.iter().zip(targets);
        pairs.map(|(y, t)| factor * 2.0 * (y - t)).collect()
    };
    let sgd = Optimizer::sgd(0.1);
    let mut reference = Reference::<f32>::new(&model, own.clone(), sgd, 6).unwrap();
    let pairs = trainers(builder(&own)).into_iter();
    for (mut own, mut library) in pairs.zip(trainers(builder(&library))) {
        library.step(&x, [&middles, &ends, &ends]).unwrap();
        let outputs = own.forward(&x).unwrap();
        let (end, middle) = (&outputs[0].1, &outputs[1].1);
        let of_middle = off(middle, &middles, 1.0);
        let of_end = [1.0, 2.0].map(|factor| off(end, &ends, factor));
        let gradients = [&of_middle, &of_end[0], &of_end[1]];
        own.backward(gradients).unwrap();
        own.update().unwrap();
        if own.gpu().is_none() {
            assert_eq!(reference.forward_training(&x).unwrap()[1], *middle);
            reference.backward(gradients).unwrap();
            reference.update_now().unwrap();
        }
        for (name, _) in model.parameters() {
            let expected = wide(&library.parameter(name).unwrap());
            near(name, &own.parameter(name).unwrap(), &expected);
            near(name, reference.parameter(name).unwrap(), &expected);
            let expected = wide(&library.gradient(name).unwrap());
            near(name, &own.gradient(name).unwrap(), &expected);
        }
    }
    assert_error(reference.backward(&[0.0; 9]), "argument", &["just before"]);
    reference.forward_training(&x).unwrap();
    let short = [&middles[..], &ends[1..], &ends];
    assert_error(reference.backward(short), "shape", &["gradient of end"]);
    assert_error(
        reference.step(&x, [&middles, &ends, &ends]),
        "argument",
        &["is the caller's", "Trainer::forward"],
    );
    let mut other = Reference::<f32>::new(&model, library, sgd, 6).unwrap();
    assert_error(other.forward_training(&x), "argument", &["Losses::own"]);
    assert_error(other.backward(&x), "argument", &["Losses::own"]);
}
