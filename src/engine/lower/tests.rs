//! The kernels that follow from a model, on adapters of every kind.

use super::*;
use crate::gpu::kernels::shader_models::{adapters, models};
use crate::model::Rate;

#[test]
fn a_smaller_batch_has_the_kernels_and_buffers_of_the_planned_one() {
    let optimizer = crate::Optimizer::adam(0.1).into();
    for traits in adapters() {
        for model in &models() {
            let losses = crate::engine::catalogue::losses(model);
            let loss = &losses[model.parameter_count() % losses.len()].1;
            let losses = &[OutputLoss::first(loss)];
            for max_slab in [u64::MAX, slabs::tests::smallest(model)] {
                let options = PlanOptions {
                    clip_norm: Some(1.0),
                    accumulate: 2,
                    max_slab,
                    ..PlanOptions::new(16)
                };
                let groups = Groups::single(&model.graph, optimizer);
                same_kernels(&Task::new(model, losses, &groups, options), traits);
            }
        }
    }
}

/// The kernels of a training step on a model, each with its layer.
fn kernels(model: &crate::Model) -> Vec<(String, &'static str)> {
    let losses = [OutputLoss::first(&crate::Loss::default())];
    let groups = Groups::single(&model.graph, crate::Optimizer::sgd(0.1).into());
    let task = Task::new(model, &losses, &groups, PlanOptions::new(2));
    let [traits, ..] = &adapters()[..] else {
        return vec![];
    };
    let lowered = lower(&task, *traits, 2).unwrap();
    let of_step = lowered.ranges.gradients().into_iter().flatten();
    of_step
        .map(|at| &lowered.recording.dispatches[at])
        .map(|dispatch| (dispatch.label.clone(), dispatch.kernel.name))
        .collect()
}

#[test]
fn residual_sums_of_normalised_values_have_no_passes_of_their_own() {
    let model = crate::zoo::resnet18()
        .classes(10)
        .input([3, 64, 64])
        .build()
        .unwrap();
    let kernels = kernels(&model);
    let own = kernels.iter().filter(|(label, _)| label.contains("(add)"));
    let own: Vec<_> = own.collect();
    assert!(!kernels.is_empty() && own.is_empty(), "{own:?}");
}

#[test]
fn activations_of_normalised_values_have_no_passes_of_their_own() {
    let net = crate::Model::builder([3, 8, 8])
        .conv2d(4, 3)
        .batch_norm()
        .silu()
        .conv2d(4, 1)
        .push(crate::GroupNorm::new(2))
        .gelu()
        .conv2d(4, 1);
    let model = net.flatten().dense(3).build().unwrap();
    let kernels = kernels(&model);
    let own = kernels
        .iter()
        .filter(|(_, kernel)| kernel.starts_with("activation"));
    assert_eq!(own.collect::<Vec<_>>(), Vec::<&(String, &str)>::new());
}

#[test]
fn what_follows_from_frozen_weights_is_not_prepared_again() {
    let model = crate::zoo::resnet18().input([3, 64, 64]).build().unwrap();
    let graph = &model.graph;
    let losses = [OutputLoss::first(&crate::Loss::default())];
    let sgd = crate::Optimizer::sgd(0.1).into();
    let head = graph.parameters().iter().map(|parameter| {
        let learned = parameter.name.starts_with("fc.");
        learned.then_some((sgd, Rate::Factor(1.0)))
    });
    let (head, all) = (Groups::from_each(sgd, head), Groups::single(graph, sgd));
    let mut most = 0;
    for (traits, half) in adapters()
        .into_iter()
        .flat_map(|it| [(it, false), (it, true)])
    {
        let prepared = |groups: &Groups| {
            let options = PlanOptions {
                half,
                ..PlanOptions::new(2)
            };
            let lowered = lower(&Task::new(&model, &losses, groups, options), traits, 2).unwrap();
            [lowered.ranges.prepare, lowered.ranges.prepare_again].map(|range| range.len())
        };
        // In half precision, the copy of what is learned.
        let copies = usize::from(half);
        let [once, again] = prepared(&head);
        assert_eq!(again, copies);
        most = most.max(once - again);
        let [once, again] = prepared(&all);
        assert_eq!(again, once);
    }
    // Each of the convolutions there and back, where kernels take their filters rearranged.
    assert!(most >= 20, "{most}");
}

fn same_kernels(task: &Task, traits: Traits) {
    let planned = lower(task, traits, 16).unwrap().recording;
    let decisions = &planned.decisions;
    for batch in [1, 3, 15] {
        let task = Task {
            decisions,
            ..task.clone()
        };
        let smaller = lower(&task, traits, batch).unwrap().recording;
        assert_eq!(&smaller.decisions, decisions);
        assert_eq!(smaller.dispatches.len(), planned.dispatches.len());
        for (a, b) in planned.dispatches.iter().zip(&smaller.dispatches) {
            assert_eq!(a.key(), b.key(), "{}", a.label);
            for (a, b) in a.bindings.iter().zip(&b.bindings) {
                let place = |region: &Region| (region.buffer, region.offset);
                assert_eq!(a.as_ref().map(place), b.as_ref().map(place));
                let size = |region: &Option<Region>| region.map_or(0, |r| r.size);
                assert!(size(b) <= size(a));
            }
        }
    }
}
