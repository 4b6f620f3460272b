//! What is made of the parameters, copies in half precision and rearranged filters, is made when they change,
//! whoever changes them.

use wgpu_cnn::{Model, Optimizer, Trainer, TrainerBuilder};

use crate::common::{bits, plain_gpu, random, uniform};

/// A trainer of a model, where there is a pattern without the parameters that it means.
fn builder(model: &Model, frozen: Option<&str>) -> TrainerBuilder {
    let builder = Trainer::builder(model.clone());
    match frozen {
        Some(names) => builder.freeze(names),
        None => builder,
    }
}

#[test]
fn copies_and_rearranged_filters_follow_the_parameters_through_any_calls() {
    let Some(gpu) = plain_gpu() else { return };
    let model = Model::builder([1, 6, 6])
        .conv2d(4, 3)
        .relu()
        .flatten()
        .dense(3)
        .build()
        .unwrap();
    let names: Vec<String> = model.parameters().map(|(name, _)| name.into()).collect();
    let x = uniform(&mut random(31), 4 * 36);
    let check = |half: bool, accumulate: usize, frozen: Option<&str>| {
        let new = || {
            let builder = builder(&model, frozen)
                .half_precision(half)
                .accumulate(accumulate)
                .batch(4)
                .optimizer(Optimizer::sgd(0.5));
            builder.on(gpu).unwrap()
        };
        let mut trainer = new();
        for call in 0..14 {
            match call % 7 {
                2 => drop(trainer.predict(&x).unwrap()),
                3 => {
                    let weights = trainer.parameter("0.weight").unwrap();
                    let moved: Vec<f32> = weights.iter().map(|w| 1.5 * w + 0.1).collect();
                    trainer.set_parameter("0.weight", &moved).unwrap();
                }
                5 => trainer.update().unwrap(),
                _ => {
                    let count = 1 + call % 4;
                    let labels = &[0u8, 1, 2, 0][..count];
                    trainer.step(&x[..36 * count], labels).unwrap();
                }
            }
            // One that has prepared nothing yet.
            let mut fresh = new();
            for name in &names {
                let values = trainer.parameter(name).unwrap();
                fresh.set_parameter(name, &values).unwrap();
            }
            let [got, expected] = [&mut trainer, &mut fresh].map(|t| t.predict(&x).unwrap());
            let what = format!(
                "half {half}, {accumulate} batches an update, frozen {frozen:?}, call {call}"
            );
            assert_eq!(bits(&got), bits(&expected), "{what}");
        }
    };
    if !gpu.has_half_precision() {
        eprintln!("skipped: no device with SHADER_F16");
    }
    for half in [false, true] {
        if half && !gpu.has_half_precision() {
            continue;
        }
        check(half, 1, None);
        check(half, 2, None);
        check(half, 1, Some("0.*"));
        check(half, 2, Some("0.*"));
    }
}

#[test]
fn filters_that_no_update_changes_are_rearranged_once() {
    let Some(gpu) = plain_gpu() else { return };
    let model = Model::builder([2, 9, 9])
        .conv2d(4, 3)
        .relu()
        .conv2d(4, 3)
        .flatten()
        .dense(3)
        .build()
        .unwrap();
    let x = uniform(&mut random(32), 4 * 162);
    let rearranged = |frozen: Option<&str>| -> Vec<String> {
        let mut trainer = builder(&model, frozen).batch(4).on(gpu).unwrap();
        let profile = trainer.profile(&x, &[0u8, 1, 2, 0]);
        let entries = profile.unwrap().entries.into_iter();
        let packs = entries.filter(|entry| entry.kernel == "conv2d_pack_weight");
        packs.map(|entry| entry.layer).collect()
    };
    let is_any = rearranged(None).iter().any(|of| of.starts_with("layer 0"));
    for (frozen, [own, other]) in [
        ("0.*", ["layer 0", "layer 2"]),
        ("2.*", ["layer 2", "layer 0"]),
    ] {
        let layers = rearranged(Some(frozen));
        assert!(!layers.iter().any(|of| of.starts_with(own)), "{layers:?}");
        let others = layers.iter().any(|of| of.starts_with(other));
        assert_eq!(others, is_any, "{layers:?}");
    }
}
