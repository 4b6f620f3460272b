//! The average of the weights over the updates, and what is done with it in their place.

use wgpu_cnn::{
    Average, BatchNorm, Error, Gpu, Group, Loss, Losses, Model, Optimizer, SaveOptions, Trainer,
    TrainerBuilder, cpu,
};

use crate::common::{each_gpu, random, uniform};

/// Odd lengths, and statistics that no average is kept of.
fn model() -> Model {
    let model = Model::builder([3]).dense(5).push(BatchNorm::new());
    model.tanh().dense(2).build().unwrap()
}

fn builder(average: Average) -> TrainerBuilder {
    let builder = Trainer::builder(model()).batch(4).seed(3);
    let builder = builder.loss(Loss::mean_squared_error()).average(average);
    builder.optimizer(Optimizer::adam(0.05))
}

/// A trainer's parameters by name.
fn parameters(trainer: &Trainer) -> Vec<(String, Vec<f32>)> {
    let names = trainer.model().parameters();
    let names = names.map(|(name, _)| (name.into(), trainer.parameter(name).unwrap()));
    names.collect()
}

/// On every device and on the CPU.
fn each_trainer(builder: &TrainerBuilder, then: impl Fn(&str, Trainer)) {
    then("cpu", builder.clone().on_cpu().unwrap());
    for (device, gpu) in each_gpu() {
        then(device, builder.clone().on(gpu).unwrap());
    }
}

fn step(trainer: &mut Trainer, rng: &mut impl FnMut(usize) -> Vec<f32>) -> Result<(), Error> {
    trainer.step(&rng(12), &rng(8))
}

fn numbers(seed: u64) -> impl FnMut(usize) -> Vec<f32> {
    let mut rng = random(seed);
    move |len| uniform(&mut rng, len)
}

#[test]
fn averages_follow_what_is_learned_and_nothing_else() {
    for average in [
        Average::ema(0.75),
        Average::equal(),
        Average::ema(0.5).after(2),
    ] {
        each_trainer(&builder(average), |device, mut trainer| {
            let mut numbers = numbers(11);
            let mut shadows = parameters(&trainer);
            for update in 1..=6 {
                step(&mut trainer, &mut numbers).unwrap();
                let what = format!("{device}, update {update}");
                follow(&what, (&average, update), &mut trainer, &mut shadows);
            }
        });
    }
}

/// A training in which what is learned, the optimizer's kind and the trainer itself become others, on whose way an
/// average is added: that of `AveragedModel`, made at that moment and updated from then on.
#[test]
fn an_average_that_begins_in_the_midst_is_of_the_updates_from_there_on() {
    const BEFORE: u64 = 3;
    for (own, after) in [
        (Average::equal(), 0),
        (Average::ema(0.75), 2),
        (Average::equal(), 5),
    ] {
        let average = own.after(after);
        let plain = Trainer::builder(model()).batch(4).seed(3).freeze("0.*");
        let plain = plain.loss(Loss::mean_squared_error());
        let plain = plain.optimizer(Optimizer::adam(0.05));
        each_trainer(&plain, |device, mut trainer| {
            let mut numbers = numbers(17);
            for _ in 0..BEFORE {
                step(&mut trainer, &mut numbers).unwrap();
            }
            let bytes = trainer.checkpoint_bytes().unwrap();
            match after {
                0 => trainer.rebuild(|b| b.average(average)).unwrap(),
                _ => trainer = resumed(&trainer, plain.clone().average(average), bytes),
            }
            let mut shadows = parameters(&trainer);
            let same = trainer.with_average(|trainer| Ok(parameters(trainer)));
            assert_eq!(same.unwrap(), shadows, "{device}: before its first update");
            for update in BEFORE + 1..BEFORE + 7 {
                match update - BEFORE {
                    2 => trainer.rebuild(|b| b.unfreeze("*")).unwrap(),
                    3 => {
                        let sgd = Optimizer::sgd(0.1).momentum(0.5);
                        trainer.rebuild(|b| b.optimizer(sgd)).unwrap();
                    }
                    4 => {
                        let sgd = Optimizer::sgd(0.1).momentum(0.5);
                        let builder = plain.clone().unfreeze("*").optimizer(sgd);
                        let bytes = trainer.checkpoint_bytes().unwrap();
                        trainer = resumed(&trainer, builder.average(average), bytes);
                    }
                    _ => {}
                }
                step(&mut trainer, &mut numbers).unwrap();
                let count = update.saturating_sub(BEFORE.max(after)).max(1);
                let what = format!("{device}, {average:?}, update {update}");
                follow(&what, (&own, count), &mut trainer, &mut shadows);
            }
        });
    }
}

/// A trainer that goes on from a checkpoint where another one is.
fn resumed(like: &Trainer, builder: TrainerBuilder, bytes: Vec<u8>) -> Trainer {
    let builder = builder.resume_bytes(bytes);
    match like.gpu() {
        Some(gpu) => builder.on(gpu).unwrap(),
        None => builder.on_cpu().unwrap(),
    }
}

/// Holds a trainer's average after an update of its own count to that of the reference.
fn follow(
    what: &str,
    (average, update): (&Average, u64),
    trainer: &mut Trainer,
    shadows: &mut [(String, Vec<f32>)],
) {
    let now = parameters(trainer);
    let averaged = trainer.with_average(|trainer| Ok(parameters(trainer)));
    assert_eq!(parameters(trainer), now, "{what}: put back");
    for (((name, shadow), (_, now)), (_, averaged)) in
        shadows.iter_mut().zip(&now).zip(averaged.unwrap())
    {
        match name.contains("running") || name.contains("num_batches") {
            true => shadow.clone_from(now),
            false => cpu::average_update(average, update, now, shadow).unwrap(),
        }
        for (got, expected) in averaged.iter().zip(&*shadow) {
            let off = (got - expected).abs();
            assert!(off <= 1e-6, "{what}, {name}: {got}, {expected}");
        }
    }
}

#[test]
fn what_is_frozen_is_its_own_average() {
    let builder = builder(Average::ema(0.5)).freeze("0.*");
    let builder = builder.group(Group::new("3.bias").rate_factor(0.5));
    each_trainer(&builder, |device, mut trainer| {
        let mut numbers = numbers(13);
        for _ in 0..3 {
            step(&mut trainer, &mut numbers).unwrap();
        }
        let now = parameters(&trainer);
        let averaged = trainer.with_average(|trainer| Ok(parameters(trainer)));
        for ((name, now), (_, averaged)) in now.iter().zip(averaged.unwrap()) {
            let own = name.starts_with("0.") || name.contains("running");
            assert_eq!(*now == averaged, own, "{device}, {name}");
        }
    });
}

#[test]
fn nothing_is_trained_while_the_average_is_in_place() {
    each_trainer(&builder(Average::ema(0.9)), |device, mut trainer| {
        let mut numbers = numbers(5);
        let x = numbers(12);
        // Before the first update the average is the weights.
        let first = trainer.predict(&x).unwrap();
        let same = trainer.with_average(|trainer| trainer.predict(&x)).unwrap();
        assert_eq!(first, same, "{device}");
        for _ in 0..3 {
            step(&mut trainer, &mut numbers).unwrap();
        }
        let now = trainer.predict(&x).unwrap();
        trainer.swap_average().unwrap();
        assert!(trainer.is_averaged());
        let averaged = trainer.predict(&x).unwrap();
        assert_ne!(now, averaged, "{device}");
        assert!(step(&mut trainer, &mut numbers).is_err());
        assert!(trainer.update().is_err());
        assert!(trainer.with_average(|_| Ok(())).is_err() && trainer.is_averaged());
        assert_eq!(trainer.predict(&x).unwrap(), averaged, "{device}");
        trainer.swap_average().unwrap();
        assert_eq!(trainer.predict(&x).unwrap(), now, "{device}");
        let refused = trainer.with_average(|trainer| trainer.parameter("none"));
        assert!(refused.is_err() && !trainer.is_averaged());
        step(&mut trainer, &mut numbers).unwrap();
    });
}

#[test]
fn a_loss_of_ones_own_waits_for_the_weights() {
    let model = Model::builder([3]).dense(2).build().unwrap();
    let builder = Trainer::builder(model).loss(Losses::own_first());
    let builder = builder.average(Average::equal());
    each_trainer(&builder, |device, mut trainer| {
        let x = [0.5, -1.0, 2.0];
        trainer.forward(&x).unwrap();
        trainer.with_average(|_| Ok(())).unwrap();
        let forgotten = trainer.backward([&[1.0f32, 2.0]]);
        assert!(forgotten.is_err(), "{device}");
        trainer.swap_average().unwrap();
        assert!(trainer.forward(&x).is_err(), "{device}");
        let x = trainer.hold([1, 3], &x).unwrap();
        assert!(trainer.forward_held(&[&x]).is_err(), "{device}");
        trainer.swap_average().unwrap();
        trainer.forward_held(&[&x]).unwrap();
        trainer.backward([&[1.0f32, 2.0]]).unwrap();
        trainer.update().unwrap();
    });
}

#[test]
fn averages_are_saved_in_place_of_the_weights() {
    let path = std::env::temp_dir().join(format!("wgpu-cnn-average-{}", std::process::id()));
    each_trainer(&builder(Average::ema(0.9)), |device, mut trainer| {
        let mut numbers = numbers(7);
        for _ in 0..3 {
            step(&mut trainer, &mut numbers).unwrap();
        }
        let now = parameters(&trainer);
        trainer.save_average(&path).unwrap();
        assert_eq!(parameters(&trainer), now, "{device}");
        let (file, options) = (std::fs::read(&path).unwrap(), SaveOptions::new());
        assert!(trainer.average_bytes(&options).unwrap() == file, "{device}");
        pollster::block_on(trainer.save_average_async(&path, &options)).unwrap();
        assert!(std::fs::read(&path).unwrap() == file, "{device}");
        let loaded = Trainer::builder(model()).weights(&path);
        let loss = Loss::mean_squared_error();
        let loaded = parameters(&loaded.loss(loss).on_cpu().unwrap());
        let averaged = trainer.with_average(|trainer| Ok(parameters(trainer)));
        assert_eq!(loaded, averaged.unwrap(), "{device}");
        let fails = async |trainer: &mut Trainer| match trainer.is_averaged() {
            true => Err::<(), _>(trainer.parameter("none").unwrap_err()),
            false => Ok(()),
        };
        assert!(pollster::block_on(trainer.with_average_async(fails)).is_err());
        assert_eq!(parameters(&trainer), now, "{device}");
        assert_ne!(loaded, now, "{device}");
    });
    std::fs::remove_file(path).unwrap();
}

#[test]
fn an_average_changes_no_bit_of_the_training_and_is_counted() {
    for (device, gpu) in each_gpu() {
        let with = builder(Average::ema(0.9)).accumulate(2).max_slab(256);
        let plain = Trainer::builder(model()).batch(4).seed(3).max_slab(256);
        let plain = plain.loss(Loss::mean_squared_error()).accumulate(2);
        let plain = plain.optimizer(Optimizer::adam(0.05));
        let memory = |builder: &TrainerBuilder, gpu: &Gpu| builder.memory(gpu).unwrap();
        let (more, less) = (memory(&with, gpu), memory(&plain, gpu));
        assert_eq!(
            (less.average, more.average),
            (0, more.gradients / 2),
            "{device}"
        );
        assert!(more.total() >= less.total() + more.average);
        assert!(more.to_string().contains("average") && !less.to_string().contains("average"));
        let trained = |builder: TrainerBuilder| {
            let mut trainer = builder.on(gpu).unwrap();
            let mut numbers = numbers(9);
            for at in 0..5 {
                step(&mut trainer, &mut numbers).unwrap();
                if trainer.memory().unwrap().average > 0 && at % 2 == 1 {
                    trainer
                        .with_average(|trainer| trainer.predict(&[0.5; 3]))
                        .unwrap();
                }
            }
            trainer.update().unwrap();
            assert_eq!(trainer.updates(), 3);
            parameters(&trainer)
        };
        assert_eq!(trained(with), trained(plain), "{device}");
    }
}

#[test]
fn a_trainer_without_an_average_has_none_to_swap() {
    let model = Model::builder([3]).dense(2).build().unwrap();
    let mut trainer = Trainer::builder(model.clone()).on_cpu().unwrap();
    assert!(trainer.swap_average().is_err() && !trainer.is_averaged());
    let decay = Trainer::builder(model.clone()).average(Average::ema(1.5));
    assert!(decay.on_cpu().is_err());
    for (_, gpu) in each_gpu() {
        let mut trainer = Trainer::builder(model.clone()).on(gpu).unwrap();
        assert!(trainer.swap_average().is_err() && !trainer.is_averaged());
        trainer.step(&[1.0, 2.0, 3.0], &[1u8]).unwrap();
    }
}
