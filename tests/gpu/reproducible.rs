//! What holds from process to process: the same bits, and memory that stays as it is.

use wgpu_cnn::{
    Activation, AvgPool2d, Conv1d, Conv2d, ConvTranspose2d, Gpu, Loss, MaxPool2d, Model, Padding,
    Softmax, Trainer,
};

#[cfg(target_os = "linux")]
use crate::common::resident;
use crate::common::{child, digest, labels, plain_gpu, random, uniform};
use crate::training::state;

const CHILD: &str = "WGPU_CNN_TEST_REPRODUCIBLE";
/// llvmpipe's number of threads.
const THREADS: &str = "LP_NUM_THREADS";

/// The words that a child process prints for one of these tests.
fn said_by_child(test: &str, environment: &[(&str, &str)]) -> String {
    let environment = [&[(CHILD, "1")], environment].concat();
    let output = child(&format!("reproducible::{test}"), &environment);
    let [said, complained] = [output.stdout, output.stderr].map(|bytes| {
        let text = String::from_utf8_lossy(&bytes);
        text.into_owned()
    });
    assert!(output.status.success(), "{said}{complained}");
    said
}

#[test]
fn fifty_steps_give_the_same_bits_in_every_process_and_with_any_number_of_threads() {
    let Some(gpu) = plain_gpu() else { return };
    if std::env::var(CHILD).is_ok() {
        println!("{}", digest(&fifty_steps(gpu)));
        return;
    }
    let test = "fifty_steps_give_the_same_bits_in_every_process_and_with_any_number_of_threads";
    let here = digest(&fifty_steps(gpu));
    for threads in ["1", "2"] {
        let said = said_by_child(test, &[(THREADS, threads)]);
        assert!(
            said.contains(&here),
            "{here} here; {threads} threads: {said}"
        );
    }
}

fn fifty_steps(gpu: &Gpu) -> Vec<Vec<u32>> {
    let model = Model::builder([2, 12, 12])
        .push(Conv2d::new(6, 3).padding(1).bias(false))
        .batch_norm()
        .relu()
        .dropout(0.2)
        .max_pool2d(2)
        .residual(|body| body.push(Conv2d::new(6, 3).padding(1)).batch_norm())
        .push(Conv2d::new(8, 3).stride(2).padding(1))
        .gelu()
        .push(AvgPool2d::new(2).stride(1))
        .flatten()
        .dropout(0.5)
        .dense(5)
        .build();
    let builder = Trainer::builder(model.unwrap()).batch(8).seed(9);
    let (mut trainer, mut rng) = (builder.on(gpu).unwrap(), random(71));
    for _ in 0..50 {
        let x = uniform(&mut rng, 8 * 2 * 12 * 12);
        trainer.step(&x, &labels(&mut rng, 8, 5)).unwrap();
    }
    state(&trainer)
}

/// In a process of its own, since other tests take memory too. Mesa's llvmpipe compiles some
/// kernels anew at every dispatch and keeps each of them: those whose loops only a uniform bounds.
#[test]
#[cfg(target_os = "linux")]
fn no_operator_takes_more_memory_with_every_step() {
    if plain_gpu().is_none() {
        return;
    }
    if std::env::var(CHILD).is_err() {
        said_by_child("no_operator_takes_more_memory_with_every_step", &[]);
        return;
    }
    const STEPS: u64 = 100;
    const ALLOWED: u64 = STEPS * (16 << 10);
    let mut growing = String::new();
    for subgroups in [true, false] {
        let gpu = Gpu::builder().allow_subgroups(subgroups).build().unwrap();
        for (name, model, loss) in models() {
            let grown = growth(&gpu, model, loss, STEPS);
            if grown > ALLOWED {
                let per_step = grown / STEPS;
                growing += &format!("{name}, subgroups {subgroups}: {per_step} bytes a step\n");
            }
        }
    }
    assert!(growing.is_empty(), "{growing}");
}

/// Bytes of resident memory that so many steps add.
#[cfg(target_os = "linux")]
fn growth(gpu: &Gpu, model: Model, loss: Loss, count: u64) -> u64 {
    const BATCH: usize = 4;
    let x = uniform(&mut random(72), BATCH * model.input_shape().len());
    let y = vec![0.5; BATCH * model.output_shape().len()];
    let builder = Trainer::builder(model)
        .loss(loss)
        .batch(BATCH)
        .clip_norm(1.0);
    let mut trainer = builder.on(gpu).unwrap();
    let mut steps = |count| (0..count).for_each(|_| trainer.step(&x, &y).unwrap());
    steps(20);
    let before = resident();
    steps(count);
    resident().saturating_sub(before)
}

/// Between them these use every operator.
fn models() -> Vec<(&'static str, Model, Loss)> {
    let same = |channels, kernel: usize| Conv2d::new(channels, kernel).padding(Padding::Same);
    let activations = [
        Activation::Relu,
        Activation::LeakyRelu { slope: 0.1 },
        Activation::Sigmoid,
        Activation::Tanh,
        Activation::Gelu,
        Activation::GeluTanh,
        Activation::Silu,
        Activation::Softplus,
    ];
    let chain = |model: wgpu_cnn::ModelBuilder| {
        activations
            .into_iter()
            .fold(model, |model, f| model.push(f))
    };
    let squared = Loss::mean_squared_error();
    let models = [
        (
            "convolutions",
            Model::builder([4, 12, 12])
                .push(same(8, 3))
                .push(Conv2d::new(8, 3).stride(2).padding(1))
                .push(same(8, 3).dilation(2))
                .push(same(8, 3).groups(2))
                .push(same(8, 3).groups(8))
                .push(ConvTranspose2d::new(4, 3).stride(2).output_padding(1))
                .flatten()
                .dense(3),
            Loss::cross_entropy().into(),
        ),
        (
            "pools and joins",
            Model::builder([4, 13, 13])
                .residual(|body| body.push(MaxPool2d::new(3).stride(1).padding(1)))
                .concat([
                    |branch| branch.push(AvgPool2d::new(3).stride(1).padding(1)),
                    |branch| branch.dropout(0.5),
                ])
                .max_pool2d(2)
                .avg_pool2d(2)
                .conv2d(4, 1)
                .concat([
                    |branch| branch.global_max_pool(),
                    |branch| branch.global_avg_pool(),
                    |branch| branch.global_softmax_pool(),
                ]),
            Loss::binary_cross_entropy(),
        ),
        (
            "normalisations",
            Model::builder([4, 8, 8])
                .conv2d(6, 3)
                .batch_norm()
                .layer_norm()
                .push(Softmax::new().axis(0))
                .log_softmax()
                .dense(3),
            squared.clone(),
        ),
        (
            "activations",
            chain(Model::builder([40]).dense(40)).dense(3),
            squared.clone(),
        ),
        (
            "signals",
            Model::builder([2, 64])
                .push(Conv1d::new(8, 9).padding_same())
                .max_pool1d(2)
                .conv1d(1, 5)
                .avg_pool1d(2)
                .reshape([2, 7]),
            squared,
        ),
    ];
    let built = models.map(|(name, model, loss)| (name, model.build().unwrap(), loss));
    built.into()
}
