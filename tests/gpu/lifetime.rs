//! Memory: what a trainer says it takes, slabs, steps in flight, and that steps take no more.

use wgpu_cnn::{Error, Model, Optimizer, Trainer, TrainerBuilder};

#[cfg(target_os = "linux")]
use crate::common::resident;
use crate::common::{child, plain_gpu, poisoned_gpus, random, state};
use crate::training::cases;

#[test]
fn the_memory_announced_is_the_memory_taken_and_shared() {
    let Some(gpu) = plain_gpu() else { return };
    for case in &cases() {
        let builder = Trainer::builder(case.model.clone())
            .loss(case.loss.clone())
            .batch(case.batch);
        let announced = builder.memory(gpu).unwrap();
        let trainer = builder.on(gpu).unwrap();
        assert_eq!(trainer.memory(), Some(announced), "{}", case.name);
        assert!(announced.activations <= announced.activations_unshared);
        let learned = case.model.parameter_count() as u64 * 4;
        assert!(announced.parameters >= learned && announced.gradients >= learned);
        assert_eq!(announced.optimizer_state, 2 * announced.parameters); // Adam
    }
    let trainer = Trainer::builder(deep_model()).batch(8).on_cpu().unwrap();
    assert_eq!(trainer.memory(), None);
    let report = Trainer::builder(deep_model()).batch(8).memory(gpu).unwrap();
    assert!(
        report.activations * 3 < report.activations_unshared * 2,
        "{report}"
    );
}

fn deep_model() -> Model {
    let mut builder = Model::builder([8, 32, 32]);
    for _ in 0..8 {
        builder = builder.conv2d(8, 1).relu();
    }
    builder.flatten().dense(2).build().unwrap()
}

#[test]
fn a_budget_too_small_is_an_error_before_anything_is_allocated() {
    for (device, gpu) in poisoned_gpus() {
        let builder = |batch| Trainer::builder(deep_model()).batch(batch);
        let needs = builder(4).memory(gpu).unwrap().total();
        builder(4).memory_budget(needs).on(gpu).unwrap();
        let refused = builder(4).memory_budget(needs - 1).on(gpu).unwrap_err();
        let fields = |error: &Error| match error {
            Error::OutOfMemory {
                needed, available, ..
            } => Some((*needed, *available)),
            _ => None,
        };
        assert_eq!(fields(&refused), Some((needs, Some(needs - 1))), "{device}");
        assert!(refused.to_string().contains("a batch of 4"), "{refused}");
        // Gigabytes, which a poisoned device would fill if they were ever allocated.
        let begin = std::time::Instant::now();
        let huge = builder(4000).memory_budget(1 << 20).on(gpu).unwrap_err();
        assert!(
            fields(&huge).is_some_and(|(needed, _)| needed > 1 << 30),
            "{huge}"
        );
        assert!(begin.elapsed().as_secs_f64() < 0.5, "{device}");
    }
}

/// The bits after a few steps of a trainer that is made as `change` says.
fn bits_with(change: impl Fn(TrainerBuilder) -> TrainerBuilder) -> Vec<(u64, Vec<Vec<u32>>)> {
    let case = &cases()[0];
    let results = poisoned_gpus().map(|(_, gpu)| {
        let builder = Trainer::builder(case.model.clone()).batch(case.batch);
        let builder = builder.optimizer(Optimizer::adam(1e-2));
        let mut trainer = change(builder).on(gpu).unwrap();
        let mut rng = random(31);
        for _ in 0..6 {
            let (x, target) = case.data(&mut rng, case.batch);
            trainer.step(&x, target).unwrap();
        }
        (trainer.memory().unwrap().parameters, state(&trainer))
    });
    results.collect()
}

#[test]
fn several_slabs_give_the_same_bits_as_one() {
    let largest = cases()[0]
        .model
        .parameters()
        .map(|(_, shape)| shape.len())
        .max()
        .unwrap() as u64;
    let one = bits_with(|builder| builder);
    let several = bits_with(|builder| builder.max_slab(largest * 4 + 12));
    for ((one_size, one), (several_size, several)) in one.iter().zip(&several) {
        // Within a slab parameters begin at offsets that a binding may have, so a slab for each of
        // them is smaller in all.
        assert!(several_size < one_size, "{several_size} {one_size}");
        assert_eq!(one, several);
    }
}

#[test]
fn any_number_of_steps_in_flight_gives_the_same_bits() {
    let two = bits_with(|builder| builder);
    assert_eq!(two, bits_with(|builder| builder.in_flight(1)));
    assert_eq!(two, bits_with(|builder| builder.in_flight(5)));
}

const CHILD: &str = "WGPU_CNN_TEST_MEMORY";

/// In a process of its own, since other tests take memory too.
#[test]
#[cfg(target_os = "linux")]
fn steps_whose_loss_nobody_reads_take_no_more_memory() {
    if plain_gpu().is_none() {
        return;
    }
    if std::env::var(CHILD).is_ok() {
        let grown = growth();
        assert!(grown < 4 << 20, "{grown} bytes more after 10,000 steps");
        return;
    }
    let name = "lifetime::steps_whose_loss_nobody_reads_take_no_more_memory";
    let output = child(name, &[(CHILD, "1")]);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Bytes of resident memory that 10,000 steps add. The inputs of unbounded steps on their way
/// would be 10,000 times 16 KiB.
#[cfg(target_os = "linux")]
fn growth() -> u64 {
    let model = Model::builder([1024]).dense(2).build().unwrap();
    let mut trainer = Trainer::builder(model)
        .batch(4)
        .on(plain_gpu().unwrap())
        .unwrap();
    let (x, y) = (vec![0.5; 4096], [0u8, 1, 0, 1]);
    let mut steps = |count: usize| (0..count).for_each(|_| trainer.step(&x, &y).unwrap());
    steps(500);
    let before = resident();
    steps(10_000);
    resident().saturating_sub(before)
}
