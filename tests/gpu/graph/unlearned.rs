//! What is fixed, and what no loss depends on.

use super::*;

/// What no loss depends on stays as it is, decay and momentum or not; and so does what is fixed.
#[test]
fn what_is_not_learned_does_not_change() {
    let model = || {
        let mut net = Model::graph();
        let x = net.input([1, 4, 4]);
        let fixed = net.add("fixed", Conv2d::new(2, 3).bias(false), [x])?;
        net.fix("fixed.weight", [0.125; 18])?;
        let y = net.apply(Flatten, [fixed])?;
        let class = net.add("class", Linear::new(2), [y])?;
        let other = net.add("other", Linear::new(2), [y])?;
        net.build([class, other])
    };
    let model: Model = model().unwrap();
    let names: Vec<&str> = model.parameters().map(|(name, _)| name).collect();
    assert_eq!(
        names,
        ["class.weight", "class.bias", "other.weight", "other.bias"]
    );
    let builder = Trainer::builder(model.clone()).batch(3).seed(2);
    for mut trainer in trainers(builder.optimizer(Optimizer::adamw(0.1).weight_decay(0.5))) {
        let before = trainer.parameter("other.weight").unwrap();
        let class = trainer.parameter("class.weight").unwrap();
        let x: Vec<f32> = (0..48).map(|at| (at % 7) as f32 / 4.0).collect();
        for _ in 0..3 {
            trainer.step(&x, &[0u8, 1, 0]).unwrap();
        }
        assert_eq!(trainer.parameter("other.weight").unwrap(), before);
        assert_ne!(trainer.parameter("class.weight").unwrap(), class);
        assert_eq!(trainer.parameter("fixed.weight").unwrap(), [0.125; 18]);
        assert_error(
            trainer.gradient("other.weight"),
            "argument",
            &["no loss depends on it"],
        );
        assert_error(trainer.gradient("fixed.weight"), "argument", &["is fixed"]);
        assert_error(
            trainer.set_parameter("fixed.weight", &[1.0; 18]),
            "argument",
            &["part of the model"],
        );
        let file = std::env::temp_dir().join(format!("fixed-{}.safetensors", std::process::id()));
        trainer.save(&file).unwrap();
        trainer.load(&file).unwrap();
        let again = Trainer::builder(model.clone())
            .weights(&file)
            .on_cpu()
            .unwrap();
        std::fs::remove_file(&file).unwrap();
        assert_eq!(again.parameter("fixed.weight").unwrap(), [0.125; 18]);
        assert_eq!(again.parameter("other.weight").unwrap(), before);
    }
}

/// A fixed filter, a layer shared by two uses of which one reaches no loss, and a head without a loss.
fn partly_learned() -> Result<Model> {
    let mut net = Model::graph();
    let x = net.input([4, 6, 6]);
    let y = net.add("fixed", Conv2d::new(8, 3).padding(1), [x])?;
    let values = (0..8 * 36).map(|at| (at % 13) as f32 / 64.0 - 0.09);
    net.fix("fixed.weight", values.collect::<Vec<f32>>())?;
    let y = net.apply(Activation::Tanh, [y])?;
    let y = net.add("shared", Conv2d::new(8, 3).padding(1), [y])?;
    let again = net.share("shared", "again", [y])?;
    let pool = |net: &mut wgpu_cnn::GraphBuilder, y| {
        let y = net.apply(GlobalPool::Average, [y])?;
        net.apply(Flatten, [y])
    };
    let (one, other) = (pool(&mut net, y)?, pool(&mut net, again)?);
    let class = net.add("class", Linear::new(3), [one])?;
    let other = net.add("other", Linear::new(16), [other])?;
    net.build([class, other])
}

/// In one piece and in several, in either precision: the kernels are what the reference says, and what is
/// not learned stays as it is.
#[test]
fn what_is_not_learned_may_lie_in_pieces_and_be_read_in_half_precision() {
    let model = partly_learned().unwrap();
    let optimizer = Optimizer::sgd(0.25).momentum(0.9);
    let builder = || {
        Trainer::builder(model.clone())
            .batch(2)
            .optimizer(optimizer)
    };
    let rng = &mut random(3);
    let x = uniform(rng, 2 * 4 * 36);
    let trained = |trainer: &mut Trainer| {
        for _ in 0..3 {
            trainer.step(&x, &[0u8, 2]).unwrap();
        }
        let names = model.parameters().map(|(name, _)| name.to_string());
        let names = names.chain(["fixed.weight".into()]);
        let read = names.map(|name| (trainer.parameter(&name).unwrap(), name));
        read.collect::<Vec<_>>()
    };
    let start = builder().on_cpu().unwrap();
    let expected = trained(&mut builder().on_cpu().unwrap());
    for (name, gpu) in poisoned_gpus().take(1) {
        for (half, slab) in [(false, 640), (true, 640), (true, u64::MAX)] {
            if half && !gpu.has_half_precision() {
                continue;
            }
            let name = format!("{name}, half {half}, slabs of {slab}");
            let builder = builder().max_slab(slab).half_precision(half);
            let mut trainer = builder.on(gpu).unwrap();
            let report = trainer.verify().unwrap();
            assert!(report.passed(), "{name}: {report}");
            for ((got, of), (expected, _)) in trained(&mut trainer).iter().zip(&expected) {
                let largest = expected.iter().fold(0.1, |most: f32, v| most.max(v.abs()));
                let most = if half { 1e-2 } else { 1e-5 } * largest;
                let off = got.iter().zip(expected).map(|(a, b)| (a - b).abs());
                let off = off.fold(0.0, f32::max);
                assert!(off <= most, "{name}: {of} is off by {off}");
                if of.starts_with("other") || of.starts_with("fixed.weight") {
                    assert_eq!(*got, start.parameter(of).unwrap(), "{name}: {of}");
                }
            }
            assert_error(trainer.gradient("other.bias"), "argument", &["no loss"]);
        }
        let row = builder().max_slab(128).on(gpu);
        assert_error(
            row,
            "limit",
            &["layer fixed (conv2d): parameter fixed.weight"],
        );
    }
}

#[test]
fn a_model_whose_losses_reach_nothing_learned_is_told_from_one_that_learns_nothing() {
    let mut net = Model::graph();
    let x = net.input([4]);
    let plain = net.apply(Activation::Tanh, [x]).unwrap();
    let learned = net.add("learned", Linear::new(2), [x]).unwrap();
    let model = net.build([plain, learned]).unwrap();
    let said = "no loss that depends on anything that is learned";
    assert_error(Trainer::builder(model).on_cpu(), "argument", &[said]);
    let model = Model::builder([4]).tanh().build().unwrap();
    let said = "has nothing to learn";
    assert_error(Trainer::builder(model).on_cpu(), "argument", &[said]);
}
