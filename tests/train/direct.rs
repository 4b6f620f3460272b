//! Trainers that keep to the sums that define a convolution, and what is made of them.

use wgpu_cnn::{Conv2d, Gpu, Model, Trainer, TrainerBuilder};

use crate::common::{bits, random, uniform};
use crate::device::{Capability, device};

const BATCH: usize = 2;

fn builder(direct: bool) -> TrainerBuilder {
    let layer = |channels| Conv2d::new(channels, 3).padding(1);
    let model = Model::builder([3, 9, 8]).push(layer(8)).relu();
    let model = model.push(layer(5)).flatten().dense(3).build().unwrap();
    let builder = Trainer::builder(model).batch(BATCH).seed(7);
    builder.direct_only(direct)
}

fn x() -> Vec<f32> {
    uniform(&mut random(12), BATCH * 3 * 9 * 8)
}

/// Whether a step runs kernels of Winograd's algorithm, which a profile tells apart.
fn is_fast(trainer: &mut Trainer) -> bool {
    let profile = trainer.profile(&x(), &[0u8, 2]).unwrap();
    let mut kernels = profile.entries.iter();
    let fast = kernels.any(|entry| entry.kernel.starts_with("conv2d_winograd"));
    assert_eq!(fast, profile.total().direct_flops > 0);
    assert_eq!(fast, profile.to_string().contains("direct GFLOP/s"));
    fast
}

/// The output, by the trainer, its predictor and its probe.
fn outputs(trainer: &Trainer, gpu: &Gpu) -> [Vec<u32>; 3] {
    let mut predictor = trainer.predictor().unwrap();
    let predicted = predictor.clone().on(gpu).unwrap().predict(&x()).unwrap();
    predictor = predictor.direct_only(false);
    let fast = predictor.on(gpu).unwrap().predict(&x()).unwrap();
    let last = trainer.model().outputs().next().unwrap().0.to_owned();
    let probe = trainer.probe().unwrap().values([last.clone()]);
    let looked = probe.on(gpu).unwrap().look(&x()).unwrap();
    [&predicted[..], &fast, looked.value(&last).unwrap()].map(bits)
}

#[test]
fn direct_sums_stay_direct_whatever_is_made_of_their_trainer() {
    let preferring = |core| device(Gpu::builder().prefer_core(core));
    let (Some(gpu), Some(rows)) = (preferring("winograd-subgroup"), preferring("rows")) else {
        return;
    };
    if !Capability::Subgroups8.is_on(&gpu) {
        return;
    }
    let [mut fast, mut direct] = [false, true].map(|direct| builder(direct).on(&gpu).unwrap());
    let by_rows = builder(false).on(&rows).unwrap().predict(&x()).unwrap();
    let [predicted, by_fast, looked] = outputs(&direct, &gpu);
    assert_eq!(predicted, bits(&direct.predict(&x()).unwrap()));
    assert_eq!(predicted, bits(&by_rows));
    assert_eq!(predicted, looked);
    // The algorithms round otherwise, and a predictor may choose its own.
    assert_ne!(predicted, by_fast);
    assert_eq!(by_fast, bits(&fast.predict(&x()).unwrap()));
    assert!(is_fast(&mut fast) && !is_fast(&mut direct));
    direct.rebuild(|builder| builder.freeze("0.*")).unwrap();
    assert!(!is_fast(&mut direct));
    direct
        .rebuild(|builder| builder.direct_only(false))
        .unwrap();
    assert!(is_fast(&mut direct));
}
