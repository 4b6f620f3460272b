//! What holds from process to process: the same bits, and memory that stays as it is.

#[cfg(target_os = "linux")]
use wgpu_cnn::engine::catalogue::{ModelCase, models};
use wgpu_cnn::{AvgPool2d, Conv2d, Gpu, Model, Trainer};

#[cfg(target_os = "linux")]
use crate::common::resident;
use crate::common::{child, digest, labels, plain_gpu, random, state, uniform};

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
        for case in models().unwrap() {
            let grown = growth(&gpu, &case, STEPS);
            if grown > ALLOWED {
                let (name, per_step) = (case.name, grown / STEPS);
                growing += &format!("{name}, subgroups {subgroups}: {per_step} bytes a step\n");
            }
        }
    }
    assert!(growing.is_empty(), "{growing}");
}

/// Bytes of resident memory that so many steps add.
#[cfg(target_os = "linux")]
fn growth(gpu: &Gpu, case: &ModelCase, count: u64) -> u64 {
    let (model, batch) = (&case.model, case.batch);
    let x = uniform(&mut random(72), batch * model.input_shape().len());
    let y = vec![0.5; batch * model.output_shape().len()];
    let builder = Trainer::builder(model.clone())
        .loss(case.loss.clone())
        .batch(batch)
        .clip_norm(1.0);
    let mut trainer = builder.on(gpu).unwrap();
    let mut steps = |count| (0..count).for_each(|_| trainer.step(&x, &y).unwrap());
    steps(20);
    let before = resident();
    steps(count);
    resident().saturating_sub(before)
}
