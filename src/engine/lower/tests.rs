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

/// The dispatches of an ordinary training step, and how many of them are behind a barrier.
fn dispatches(model: &crate::Model, batch: usize, traits: Traits) -> [usize; 2] {
    let losses = [OutputLoss::first(&crate::Loss::default())];
    let groups = Groups::single(&model.graph, crate::Optimizer::adam(0.1).into());
    let task = Task::new(model, &losses, &groups, PlanOptions::new(batch));
    let lowered = lower(&task, traits, batch).unwrap();
    let Ranges {
        prepare_again,
        update,
        average,
        ..
    } = lowered.ranges.clone();
    let ranges = [
        &[prepare_again][..],
        &lowered.ranges.gradients(),
        &[update, average],
    ]
    .concat();
    let step: Vec<usize> = ranges.into_iter().flatten().collect();
    let barriers = lowered.recording.barriers(step.iter().copied());
    [step.len(), barriers]
}

#[test]
fn a_step_has_as_many_dispatches_as_it_had() {
    let lenet = crate::Model::builder([1, 28, 28])
        .conv2d(32, 5)
        .relu()
        .max_pool2d(2)
        .conv2d(64, 5)
        .relu()
        .max_pool2d(2)
        .flatten()
        .dense(128)
        .relu()
        .dense(10);
    let resnet = crate::zoo::resnet18().input([3, 224, 224]);
    let (lenet, resnet) = (lenet.build().unwrap(), resnet.build().unwrap());
    let [gpu, software, ..] = adapters()[..] else {
        panic!("no adapters")
    };
    let counts = [gpu, software].map(|traits| {
        let traits = Traits {
            max_binding: 1 << 30,
            max_buffer: 1 << 30,
            // Winograd's algorithm has three for each chunk of tiles that a cache holds.
            direct_only: true,
            ..traits
        };
        [
            dispatches(&lenet, 64, traits),
            dispatches(&resnet, 64, traits),
        ]
    });
    // Of LeNet and of ResNet-18, on a GPU and on a software adapter with subgroups of 8. Both pack filters.
    // Gradients of biases come with those of weights, and take none.
    assert_eq!(counts, [[[23, 20], [260, 221]], [[23, 20], [253, 214]]]);
}

/// Sums over few channels of large images: every dispatch that has to do with as much as such images, and is no
/// product, has workgroups enough for a GPU of more than a hundred compute units, eight for each.
#[test]
fn whatever_works_on_large_images_fills_a_device() {
    let images = || crate::Model::builder([64, 256, 256]);
    let models = [
        images().batch_norm().prelu().group_norm(8).scale(),
        images().layer_norm_channels().layer_norm(),
        images().conv2d(64, 1).global_avg_pool(),
        images().instance_norm().global_max_pool(),
        images().scale().global_softmax_pool(),
        images().local_response_norm(5).softmax(),
    ];
    let [gpu, ..] = adapters()[..] else {
        panic!("no adapters")
    };
    let traits = Traits {
        max_binding: 1 << 30,
        max_buffer: 1 << 30,
        ..gpu
    };
    let loss = crate::Loss::mean_squared_error();
    let few = models.into_iter().flat_map(|model| {
        let model = model.build().unwrap();
        let losses = [OutputLoss::first(&loss)];
        let groups = Groups::single(&model.graph, crate::Optimizer::adam(0.1).into());
        let task = Task::new(&model, &losses, &groups, PlanOptions::new(8));
        let dispatches = lower(&task, traits, 8).unwrap().recording.dispatches;
        let few = dispatches.into_iter().filter(|dispatch| {
            let large = dispatch.regions().any(|region| region.size >= 32 << 20);
            // Products are shared out by themselves.
            large && dispatch.flops == 0 && dispatch.workgroups.iter().product::<u32>() < 1024
        });
        few.map(|dispatch| format!("{}: {:?}", dispatch.what(), dispatch.workgroups))
            .collect::<Vec<_>>()
    });
    assert_eq!(few.collect::<Vec<_>>(), Vec::<String>::new());
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
