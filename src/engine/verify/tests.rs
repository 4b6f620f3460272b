//! Faults that are seeded into the dispatches of a model, and found.

mod fast;

use super::*;
use crate::engine::lower::NodeParts;
use crate::engine::operators::Mode;
use crate::{BatchNorm, Branch, Conv2d, ConvTranspose2d, GroupNorm, LayerNormChannels, wgpu};

/// A device, or none where that is allowed.
fn gpu() -> Option<Gpu> {
    crate::device::plain().cloned()
}

fn model() -> Model {
    Model::builder([2, 8, 8])
        .push(Conv2d::new(4, 3).padding(1))
        .leaky_relu(0.25)
        .residual(|body| body.push(Conv2d::new(4, 3).padding(1).groups(4)).silu())
        .max_pool2d(2)
        .batch_norm()
        .push(ConvTranspose2d::new(3, 3).stride(2))
        .dropout(0.25)
        .concat([
            Branch::new(|b| b.conv2d(2, 1).gelu()),
            Branch::new(|b| b.conv2d(3, 1).tanh()),
        ])
        .global_softmax_pool()
        .flatten()
        .dense(4)
        .gelu()
        .dense(4)
        .build()
        .unwrap()
}

/// A fault: in dispatches of which layer, and what of them is changed.
type Fault = (&'static str, &'static str, fn(&mut Dispatch));

fn set_param(dispatch: &mut Dispatch, name: &str, change: impl Fn(u32) -> u32) {
    let at = dispatch
        .kernel
        .params
        .iter()
        .position(|(field, _)| *field == name);
    let Some(at) = at else { return };
    let bytes = &mut dispatch.params[4 * at..4 * at + 4];
    let value = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    bytes.copy_from_slice(&change(value).to_le_bytes());
}

fn set_constant(dispatch: &mut Dispatch, name: &str, change: impl Fn(f64) -> f64) {
    for (constant, value) in &mut dispatch.constants {
        if *constant == name {
            *value = change(*value);
        }
    }
}

const FAULTS: [Fault; 18] = [
    ("layer 0 (conv2d)", "", |d| {
        set_constant(d, "ACTIVATION_A", |slope| slope + 1e-3)
    }),
    ("layer 0 (conv2d)", "", |d| {
        set_constant(d, "PAD_LEFT", |pad| pad + 1.0)
    }),
    ("layer 2.body.0 (conv2d)", "", |d| {
        set_param(d, "batch", |batch| batch - 1)
    }),
    ("layer 2.body.1 (silu)", "", |d| {
        set_constant(d, "ACTIVATION", |_| 5.0)
    }),
    // A function that the shaders lack is the identity.
    ("layer 2.body.1 (silu)", "activation_forward", |d| {
        set_constant(d, "ACTIVATION", |_| 0.0)
    }),
    ("layer 7.0.1 (gelu)", "activation_backward", |d| {
        set_constant(d, "FUNCTION", |_| 0.0)
    }),
    ("layer 2 (add)", "activation_forward", |d| {
        set_constant(d, "ACCUMULATE", |a| 1.0 - a)
    }),
    ("layer 3 (max_pool2d)", "", |d| {
        set_constant(d, "STRIDE_H", |stride| stride + 1.0)
    }),
    ("layer 3 (max_pool2d)", "", |d| d.workgroups[0] = 0),
    ("layer 4 (batch_norm)", "norm_batch_forward", |d| {
        set_constant(d, "TRAINING", |training| 1.0 - training)
    }),
    ("layer 4 (batch_norm)", "norm_batch_backward_weight", |d| {
        set_param(d, "batch", |batch| batch - 1)
    }),
    ("layer 4 (batch_norm)", "norm_batch_statistics", |d| {
        set_param(d, "momentum", |bits| bits ^ (1 << 12))
    }),
    ("layer 5 (conv_transpose2d)", "", |d| {
        set_param(d, "in_channels", |channels| channels - 1)
    }),
    ("layer 6 (dropout)", "", |d| {
        set_param(d, "layer", |layer| layer + 1)
    }),
    ("layer 10 (linear)", "", |d| set_param(d, "k", |k| k - 1)),
    ("optimizer", "optimizer_adam", |d| d.bindings.swap(3, 4)),
    ("average", "average_update", |d| {
        set_param(d, "len", |len| len - 1)
    }),
    ("average", "average_swap", |d| {
        set_param(d, "len", |len| len - 1)
    }),
];

#[test]
fn faults_in_kernels_fail_and_name_the_layer() {
    let Some(gpu) = gpu() else { return };
    let model = model();
    let report = gpu.verify(&model, 5).unwrap();
    assert!(report.passed() && report.failed_kernels() == 0, "{report}");
    for (number, (layer, kernel, change)) in FAULTS.into_iter().enumerate() {
        let tamper = |lowered: &mut Lowered| {
            for dispatch in &mut lowered.recording.dispatches {
                if dispatch.label == layer && dispatch.kernel.name.starts_with(kernel) {
                    change(dispatch);
                }
            }
        };
        let report = pollster::block_on(verify(&gpu, &model, 5, &tamper)).unwrap();
        let named = |check: &Check| check.layer.starts_with(layer) && check.reason.is_some();
        assert!(
            report.failed().next().is_some(),
            "fault {number} in {layer} was not found"
        );
        assert!(report.failed().all(named), "fault {number}: {report}");
        let (kernels, failed) = (report.kernels(), report.failed_kernels());
        let summary = format!("{kernels} kernels, {failed} failed");
        assert!(failed > 0 && report.to_string().ends_with(&summary));
    }
}

/// The parts of the node with this label.
fn node<'a>(lowered: &'a mut Lowered, model: &Model, label: &str) -> &'a mut NodeParts {
    let nodes = model.graph.nodes().iter();
    let at = nodes
        .zip(&lowered.nodes)
        .position(|(node, _)| node.label() == label);
    &mut lowered.nodes[at.unwrap()]
}

/// What a new operator could forget, and what the failed check then says.
type Omission = (&'static str, fn(&mut Lowered, &Model));

const OMISSIONS: &[Omission] = &[
    // An operator with two inputs records the gradient of the first alone.
    (
        "no kernel writes the input 2 gradient of tanh",
        |lowered, model| {
            let backward = node(lowered, model, "layer 7 (concat)").backward.as_mut();
            let second = backward.unwrap().range.end - 1;
            let nowhere = lowered.recording.transient("nowhere", 1 << 12);
            let output = lowered.recording.dispatches[second].bindings.last_mut();
            *output.unwrap() = Some(nowhere);
        },
    ),
    // Nothing leads to its backward pass.
    ("no kernel writes the gradients", |lowered, model| {
        node(lowered, model, "layer 4 (batch_norm)").backward = None;
    }),
    // It has a parameter whose gradient it leaves out.
    ("no kernel writes the bias gradient", |lowered, model| {
        let backward = node(lowered, model, "layer 10 (linear)").backward.as_mut();
        backward.unwrap().places.to_parameters[1] = None;
    }),
    // A layer of the same kernels as an earlier one, which rightly has no backward pass.
    ("no kernel writes the gradients", |lowered, model| {
        node(lowered, model, "layer 11 (gelu)").backward = None;
    }),
    (
        "no kernel writes the output in evaluation",
        |lowered, model| {
            node(lowered, model, "layer 10 (linear)").predict = None;
        },
    ),
    // A walk that goes wrong.
    ("reads another value than its input", |lowered, model| {
        let forward = node(lowered, model, "layer 7 (concat)").forward.as_mut();
        forward.unwrap().places.inputs.swap(0, 1);
    }),
    ("applies another activation", |lowered, model| {
        let forward = node(lowered, model, "layer 0 (conv2d)").forward.as_mut();
        forward.unwrap().places.output.activation = None;
    }),
    ("loses the gradient by another way", |lowered, model| {
        let backward = node(lowered, model, "layer 7.0.0 (conv2d)")
            .backward
            .as_mut();
        let to = &mut backward.unwrap().places.to_inputs[0];
        to.as_mut().unwrap().accumulate ^= true;
    }),
    ("reads another layer's parameters", |lowered, model| {
        let forward = node(lowered, model, "layer 10 (linear)").forward.as_mut();
        forward.unwrap().places.parameters.swap(0, 1);
    }),
    ("differentiates at another place", |lowered, model| {
        let gradient = lowered.losses[0].logits[1];
        let backward = node(lowered, model, "layer 8 (global_softmax_pool)")
            .backward
            .as_mut();
        backward.unwrap().places.output = gradient;
    }),
    ("reads another value's gradient", |lowered, model| {
        let output = lowered.outputs[0];
        let backward = node(lowered, model, "layer 10 (linear)").backward.as_mut();
        backward.unwrap().places.gradient = output;
    }),
    ("writes another parameter's gradient", |lowered, model| {
        let backward = node(lowered, model, "layer 10 (linear)").backward.as_mut();
        backward.unwrap().places.to_parameters.swap(0, 1);
    }),
    (
        "hands its gradient through another activation",
        |lowered, model| {
            let backward = node(lowered, model, "layer 7 (concat)").backward.as_mut();
            let mut to = backward.unwrap().places.to_inputs.iter_mut().flatten();
            to.find_map(|to| to.gradient_of.take()).unwrap();
        },
    ),
    ("computes in another mode", |lowered, model| {
        let forward = node(lowered, model, "layer 4 (batch_norm)")
            .forward
            .as_mut();
        forward.unwrap().mode = Mode::Evaluation;
    }),
    ("hands on a gradient that changes", |lowered, model| {
        let input = model.graph.input();
        node(lowered, model, "layer 3 (max_pool2d)").heir = Some(input);
    }),
    ("reads another value than the output", |lowered, _| {
        lowered.losses[0].logits[0] = lowered.inputs[0];
    }),
    ("does not reach its place in evaluation", |lowered, _| {
        lowered.outputs[0] = lowered.inputs[0];
    }),
    // A kernel belongs to no part of the plan.
    ("was not verified", |lowered, _| {
        let mut more = lowered.recording.dispatches[0].clone();
        more.workgroups = [3, 3, 3];
        lowered.recording.dispatches.push(more);
    }),
];

#[test]
fn what_is_missing_from_a_plan_fails() {
    let Some(gpu) = gpu() else { return };
    let model = model();
    for &(says, omit) in OMISSIONS {
        let tamper = |lowered: &mut Lowered| omit(lowered, &model);
        let report = pollster::block_on(verify(&gpu, &model, 2, &tamper)).unwrap();
        let said = |check: &Check| check.reason.as_ref().is_some_and(|r| r.contains(says));
        assert!(report.failed().any(said), "{says}: {report}");
    }
}

/// Faults in how gradients go through activations whose argument is kept.
const FAULTS_ON_THE_WAY: [Fault; 5] = [
    ("layer 1 (batch_norm)", "norm_batch_backward_weight", |d| {
        set_constant(d, "FUNCTION", |_| 0.0)
    }),
    ("layer 1 (batch_norm)", "norm_batch_backward_weight", |d| {
        d.bindings[1] = d.bindings[0]
    }),
    ("layer 4 (group_norm)", "norm_group_sums", |d| {
        set_constant(d, "FUNCTION", |code| code + 1.0)
    }),
    (
        "layer 6 (layer_norm_channels)",
        "activation_backward",
        |d| d.workgroups[0] = 0,
    ),
    // ReLU, for a sum that hands its gradient on.
    (
        "layer 8.body.1 (batch_norm)",
        "norm_batch_backward_weight",
        |d| set_constant(d, "FUNCTION", |_| 0.0),
    ),
];

#[test]
fn faults_in_gradients_that_go_through_an_activation_fail_and_name_the_layer() {
    let Some(gpu) = gpu() else { return };
    let model = Model::builder([2, 5, 5])
        .conv2d(4, 3)
        .batch_norm()
        .silu()
        .conv2d(4, 1)
        .push(GroupNorm::new(2))
        .gelu()
        .push(LayerNormChannels::new())
        .hard_swish()
        .residual(|body| body.conv2d(4, 1).batch_norm())
        .relu()
        .residual(|body| body.conv2d(4, 1).batch_norm())
        .push(GroupNorm::new(2).affine(false))
        .mish()
        .push(BatchNorm::new().affine(false).frozen(true))
        .softplus()
        .dense(3)
        .build()
        .unwrap();
    let report = gpu.verify(&model, 3).unwrap();
    assert!(report.passed(), "{report}");
    for (number, (layer, kernel, change)) in FAULTS_ON_THE_WAY.into_iter().enumerate() {
        let tamper = |lowered: &mut Lowered| {
            let backward = lowered.ranges.backward.clone();
            let dispatches = &mut lowered.recording.dispatches[backward];
            let mut faulty = dispatches
                .iter_mut()
                .filter(|d| d.label == layer && d.kernel.name.starts_with(kernel));
            change(faulty.next().unwrap());
        };
        let report = pollster::block_on(verify(&gpu, &model, 3, &tamper)).unwrap();
        let named = |check: &Check| check.layer.starts_with(layer) && check.reason.is_some();
        assert!(
            report.failed().next().is_some() && report.failed().all(named),
            "fault {number} in {layer}: {report}"
        );
    }
    let omissions: [Omission; 4] = [
        (
            "takes its gradient through another activation",
            |lowered, model| {
                let parts = node(lowered, model, "layer 1 (batch_norm)");
                parts.backward.as_mut().unwrap().places.through = None;
            },
        ),
        ("adds another value", |lowered, model| {
            let parts = node(lowered, model, "layer 8.body.1 (batch_norm)");
            let output = &mut parts.forward.as_mut().unwrap().places.output;
            output.addend = Some(output.region);
        }),
        ("no kernel writes the gradients", |lowered, model| {
            node(lowered, model, "layer 8 (add)").backward = None;
        }),
        ("no kernel writes the input", |lowered, model| {
            node(lowered, model, "layer 8 (add)").heir = None;
        }),
    ];
    for (says, omit) in omissions {
        let tamper = |lowered: &mut Lowered| omit(lowered, &model);
        let report = pollster::block_on(verify(&gpu, &model, 3, &tamper)).unwrap();
        let said = |check: &Check| check.reason.as_ref().is_some_and(|r| r.contains(says));
        assert!(report.failed().any(said), "{says}: {report}");
    }
}

#[test]
fn a_layer_like_an_earlier_one_without_gradients_is_not_taken_for_it() {
    let Some(gpu) = gpu() else { return };
    let model = Model::builder([8]).gelu().dense(8).gelu().dense(3).build();
    let model = model.unwrap();
    let report = gpu.verify(&model, 2).unwrap();
    assert!(report.passed(), "{report}");
    let tamper = |lowered: &mut Lowered| {
        if let [_, _, gelu, ..] = &mut lowered.nodes[..] {
            gelu.backward = None;
        }
    };
    let report = pollster::block_on(verify(&gpu, &model, 2, &tamper)).unwrap();
    let mut of_gelu = report
        .failed()
        .filter(|check| check.layer == "layer 2 (gelu)");
    assert!(of_gelu.any(|check| check.result == "gradients"), "{report}");
}

#[test]
fn a_layer_that_reads_what_was_prepared_for_its_twin_is_found() {
    let Some(gpu) = gpu() else { return };
    let conv = || Conv2d::new(4, 3).padding(1);
    let model = Model::builder([4, 6, 6])
        .push(conv())
        .push(conv())
        .push(conv());
    let model = model.build().unwrap();
    let rebound = std::cell::Cell::new(false);
    let tamper = |lowered: &mut Lowered| {
        let prepared = |lowered: &Lowered, at: usize| -> Option<Region> {
            let part = lowered.nodes.get(at)?.forward.as_ref()?;
            let prepare = &lowered.recording.dispatches[lowered.ranges.prepare.clone()];
            let mut bindings = lowered.recording.dispatches[part.range.start].regions();
            let made = |region: &&Region| prepare.iter().any(|d| d.bindings[1] == Some(**region));
            bindings.find(made).copied()
        };
        let both = (prepared(lowered, 1), prepared(lowered, 2));
        if let (Some(of_second), Some(of_third)) = both {
            let part = lowered.nodes[2].forward.as_ref().unwrap();
            let dispatch = &mut lowered.recording.dispatches[part.range.start];
            let binding = dispatch.bindings.iter_mut().find(|b| **b == Some(of_third));
            *binding.unwrap() = Some(of_second);
            rebound.set(true);
        }
    };
    let report = pollster::block_on(verify(&gpu, &model, 2, &tamper)).unwrap();
    if !rebound.get() {
        eprintln!("skipped: nothing is prepared for convolutions on this adapter");
        return;
    }
    let mut failed = report.failed();
    assert!(
        failed.any(|check| check.layer == "layer 2 (conv2d)"),
        "{report}"
    );
}

/// Every dispatch that works on a piece of a parameter counts, and which piece it reads and writes.
#[test]
fn a_fault_in_one_piece_of_a_layer_is_found() {
    let limits = |gpu: &Gpu| wgpu::Limits {
        max_storage_buffer_binding_size: 4096,
        ..gpu.limits().clone()
    };
    let Some(gpu) = gpu() else { return };
    let small = crate::device::device(Gpu::builder().limits(limits(&gpu))).unwrap();
    let model = Model::builder([9]).dense(40).relu().dense(30).relu();
    let (model, layer) = (model.dense(3).build().unwrap(), "layer 2 (linear)");
    let of_layer = |lowered: &Lowered| -> Vec<usize> {
        let dispatches = lowered.recording.dispatches.iter().enumerate();
        let of_layer = dispatches.filter(|(_, dispatch)| dispatch.label == layer);
        of_layer.map(|(at, _)| at).collect()
    };
    let found = |tamper: &dyn Fn(&mut Lowered)| {
        let report = pollster::block_on(verify(&small, &model, 3, tamper)).unwrap();
        let named = |check: &Check| check.layer.starts_with(layer);
        report.failed().any(named)
    };
    let count = std::cell::Cell::new(0);
    let intact = |lowered: &mut Lowered| count.set(of_layer(lowered).len());
    assert!(!found(&intact) && count.get() > 10);
    let mut exchanges = 0;
    for number in 0..count.get() {
        let skip = |lowered: &mut Lowered| {
            let at = of_layer(lowered)[number];
            lowered.recording.dispatches[at].workgroups = [0; 3];
        };
        assert!(found(&skip), "dispatch {number} of {}", count.get());
        let exchanged = std::cell::Cell::new(false);
        let exchange = |lowered: &mut Lowered| {
            let at = of_layer(lowered)[number];
            let weights = lowered.parameter(model.graph.nodes()[2].parameters[0]);
            let weights: Vec<Region> = weights.unwrap().regions().collect();
            assert_eq!(weights.len(), 2);
            let bindings = &mut lowered.recording.dispatches[at].bindings;
            for region in bindings.iter_mut().flatten() {
                if let Some(piece) = weights.iter().position(|piece| piece == region) {
                    *region = weights[1 - piece];
                    exchanged.set(true);
                }
            }
        };
        assert_eq!(found(&exchange), exchanged.get(), "dispatch {number}");
        exchanges += usize::from(exchanged.get());
    }
    // The forward pass, that in evaluation, and the input's gradient, of two pieces each.
    assert_eq!(exchanges, 6);
}
