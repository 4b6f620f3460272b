//! The models whose kernels the tests of shaders translate.

use std::collections::BTreeMap;

use super::{conv2d, peak};
use crate::engine::catalogue;
use crate::gpu::record::{Dispatch, Recording};
use crate::gpu::strategy::{Core, Traits};
use crate::{Activation, BatchNorm, Conv2d, Loss, Model, Optimizer, Shape};

/// The adapters that the strategy table tells apart, with every core that can be preferred there.
pub(crate) fn adapters() -> Vec<Traits> {
    let software = Traits {
        software: true,
        subgroup_size: 8,
        ..Traits::DEFAULT
    };
    let preferring = Core::ALL.map(|core| Traits {
        preferred: Some(core),
        ..software
    });
    let few_registers = Traits {
        few_registers: true,
        preferred: Some(Core::Tiled128),
        ..Traits::DEFAULT
    };
    [&[Traits::DEFAULT, software, few_registers][..], &preferring].concat()
}

/// Every model of the catalogue, every case of every operator, and each of them with an activation
/// after it, which becomes part of its kernels where they can apply it.
pub(crate) fn models() -> Vec<Model> {
    let models = catalogue::models().unwrap().into_iter();
    models.map(|case| case.model).chain(cases()).collect()
}

fn cases() -> Vec<Model> {
    let activations = Activation::ALL.into_iter().cycle();
    let cases = catalogue::cases().into_iter().zip(activations);
    let models = cases.flat_map(|(case, f)| [case.model(), case.model_before(f)]);
    models.map(Result::unwrap).collect()
}

/// Training steps that use every kernel.
fn recordings(traits: Traits) -> Vec<Recording> {
    let (loss, [(_, optimizer), ..]) = (Loss::mean_squared_error(), &catalogue::optimizers());
    let mut recordings = trainings(traits);
    for (at, model) in cases().iter().enumerate() {
        recordings.extend(in_both_precisions(model, &loss, optimizer, traits));
        let half = at % 2 == 1;
        let pieces = crate::engine::record_in_pieces(model, &loss, optimizer, 16, half, traits);
        recordings.push(pieces.unwrap());
    }
    // Several ranks fold the statistics of batches by a kernel of its own.
    let norm = BatchNorm::new();
    let norms = [norm, norm.momentum(None)].map(|norm| [40, 5].map(|side| (norm, side)));
    for (norm, side) in norms.into_iter().flatten() {
        let model = Model::builder([65, side, side])
            .push(norm)
            .flatten()
            .dense(2);
        let model = model.build().unwrap();
        let of_ranks = crate::engine::record_of_ranks(&model, &loss, optimizer, 16, false, traits);
        recordings.push(of_ranks.unwrap());
    }
    let of_bytes = Model::builder([3, 5, 5]).flatten().dense(2).build();
    let of_bytes = of_bytes.and_then(|model| model.take_bytes("input", [[0.5], [0.25]]));
    recordings.extend(in_both_precisions(
        &of_bytes.unwrap(),
        &loss,
        optimizer,
        traits,
    ));
    recordings
}

/// Training steps of every model of the catalogue.
pub(crate) fn trainings(traits: Traits) -> Vec<Recording> {
    let mut recordings = Vec::new();
    for case in catalogue::models().unwrap() {
        let losses = catalogue::losses(&case.model);
        let optimizers = catalogue::optimizers();
        let pairs = losses.iter().cycle().zip(optimizers.iter().cycle());
        for ((_, loss), (_, optimizer)) in pairs.take(losses.len().max(optimizers.len())) {
            recordings.extend(in_both_precisions(&case.model, loss, optimizer, traits));
        }
    }
    recordings
}

fn in_both_precisions(
    model: &Model,
    loss: &Loss,
    optimizer: &Optimizer,
    traits: Traits,
) -> [Recording; 2] {
    [false, true]
        .map(|half| crate::engine::record(model, loss, optimizer, 16, half, traits).unwrap())
}

/// A dispatch for each pipeline that the models and the measurements need on any adapter.
pub(super) fn pipelines() -> Vec<Dispatch> {
    let recordings = adapters().into_iter().flat_map(recordings);
    let measurements = adapters().into_iter().map(measurements);
    let mut pipelines = BTreeMap::new();
    for dispatch in recordings
        .chain(measurements)
        .chain([false, true].map(large))
        .flat_map(|r| r.dispatches)
    {
        let (constants, variant) = (&dispatch.constants, dispatch.variant());
        let key = (dispatch.kernel.name, format!("{constants:?} {variant:?}"));
        pipelines.entry(key).or_insert(dispatch);
    }
    pipelines.into_values().collect()
}

/// The kernels that no model uses: those that measure an adapter.
fn measurements(traits: Traits) -> Recording {
    let mut recording = Recording::new(traits);
    let buffers = [0; 2].map(|_| recording.transient("", 64));
    peak::arithmetic(&mut recording, 1, buffers[0]);
    peak::bandwidth(&mut recording, 64, buffers);
    recording.finish().unwrap()
}

/// A convolution that is larger than those of the models, which takes the largest tiles of its core.
fn large(few_registers: bool) -> Recording {
    let layer = Conv2d::new(128, 3).padding(1);
    let geometry = layer.geometry(16, &Shape::from([128, 64, 64])).unwrap();
    let mut recording = Recording::new(Traits {
        few_registers,
        preferred: Some(Core::WinogradTiled),
        ..Traits::DEFAULT
    });
    let lengths = [
        geometry.input_len(),
        geometry.weight_len(),
        geometry.output_len(),
    ];
    let [x, w, y] = lengths.map(|len| recording.transient("", len));
    conv2d::forward(&mut recording, &geometry, [x, w], None, y.into());
    conv2d::backward_weight(&mut recording, &geometry, [x, y], (w, None));
    recording.finish().unwrap()
}
