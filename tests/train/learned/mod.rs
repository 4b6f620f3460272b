//! What of a model is learned, and how: frozen parameters, frozen statistics, groups; on the GPU and on the
//! CPU.

mod frozen;
mod groups;
mod rebuild;

use wgpu_cnn::{
    Activation, BatchNorm, Conv2d, Flatten, GlobalPool, Gpu, Linear, Model, Result, Trainer,
    TrainerBuilder,
};

use crate::common::{assert_error, bits, labels, plain_gpu, poisoned_gpus, random, uniform};

const BATCH: usize = 4;
const CLASSES: usize = 3;

/// A stem, two blocks of which the second reads the first, and a head; a layer that a block shares.
fn net() -> Model {
    let make = || -> Result<Model> {
        let mut net = Model::graph();
        let x = net.input([3, 6, 6]);
        let conv = || Conv2d::new(5, 3).padding(1).bias(false);
        let mut y = net.add("stem.conv", conv(), [x])?;
        y = net.add("stem.bn", BatchNorm::new(), [y])?;
        y = net.apply(Activation::Relu, [y])?;
        for block in ["layer1", "layer2"] {
            let z = net.add(&format!("{block}.conv"), conv(), [y])?;
            let z = net.add(&format!("{block}.bn"), BatchNorm::new(), [z])?;
            y = net.apply(wgpu_cnn::Add, [y, z])?;
            y = net.apply(Activation::Tanh, [y])?;
        }
        y = net.share("layer1.conv", "again", [y])?;
        y = net.apply(GlobalPool::Average, [y])?;
        y = net.apply(Flatten, [y])?;
        y = net.add("fc", Linear::new(CLASSES), [y])?;
        net.build([y])
    };
    make().unwrap()
}

fn builder() -> TrainerBuilder {
    Trainer::builder(net()).batch(BATCH).seed(3)
}

/// Inputs and labels of a batch.
fn batch(seed: u64) -> (Vec<f32>, Vec<u32>) {
    let rng = &mut random(seed);
    let x = uniform(rng, BATCH * 108);
    (x, labels(rng, BATCH, CLASSES as u32))
}

fn steps(trainer: &mut Trainer, batches: std::ops::Range<u64>) {
    for seed in batches {
        let (x, y) = batch(seed);
        trainer.step(&x, &y[..]).unwrap();
    }
}

fn names(trainer: &Trainer) -> Vec<String> {
    let names = trainer.model().parameters();
    names.map(|(name, _)| name.to_string()).collect()
}

/// The trainer on the CPU and on the poisoned devices.
fn trainers(builder: &TrainerBuilder) -> Vec<(&'static str, Trainer)> {
    trainers_on(builder, poisoned_gpus())
}

/// The same on some of the devices.
fn trainers_on(
    builder: &TrainerBuilder,
    gpus: impl Iterator<Item = (&'static str, &'static Gpu)>,
) -> Vec<(&'static str, Trainer)> {
    let on = |(name, gpu)| (name, builder.clone().on(gpu).unwrap());
    let cpu = ("cpu", builder.clone().on_cpu().unwrap());
    std::iter::once(cpu).chain(gpus.map(on)).collect()
}

/// How far a parameter of one trainer is from that of another, of its largest.
fn off(a: &Trainer, b: &Trainer, name: &str) -> f32 {
    let [a, b] = [a, b].map(|trainer| trainer.parameter(name).unwrap());
    let largest = b.iter().fold(0.05, |most: f32, v| most.max(v.abs()));
    let off = a.iter().zip(&b).map(|(a, b)| (a - b).abs());
    off.fold(0.0, f32::max) / largest
}
