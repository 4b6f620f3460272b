//! Finite differences judge the CPU reference in training, in f64: every operator in the middle of a
//! graph, every option of the losses, the gradient of every learned parameter and of the input.

use wgpu_cnn::op::BatchNormGeometry;
use wgpu_cnn::{
    Activation, AvgPool1d, AvgPool2d, BatchNorm, Branch, Conv2d, ConvTranspose2d, GlobalPool,
    LayerNorm, Linear, Loss, MaxPool2d, Model, ModelBuilder, Optimizer, Reduction, Reference,
    Softmax, Target, cpu,
};

use crate::differences::{compare, differences, values};

/// Checks the gradients of every learned parameter and of the input, in training.
fn check_reference(
    what: &str,
    reference: &mut Reference<f64>,
    target: &Target,
    batch: usize,
) -> Result<(), String> {
    let mut input = values(batch * reference.model().input_shape().len(), 1);
    let (_, input_gradient) = reference.loss_and_input_gradient(&input, target).unwrap();
    let model = reference.model().clone();
    let learned = model
        .parameters()
        .map(|(name, _)| name)
        .filter(|name| !name.contains("running") && !name.contains("num_batches"));
    let analytic: Vec<(&str, Vec<f64>)> = learned
        .map(|name| (name, reference.gradient(name).unwrap().to_vec()))
        .collect();
    for (name, analytic) in analytic {
        let numeric = differences(analytic.len(), |at, step| {
            reference.parameter_mut(name).unwrap()[at] += step;
            let loss = reference.loss_and_gradients(&input, target).unwrap();
            reference.parameter_mut(name).unwrap()[at] -= step;
            loss
        });
        compare(&format!("{what}: {name}"), &analytic, &numeric)?;
    }
    let numeric = differences(input.len(), |at, step| {
        let before = input[at];
        input[at] += step;
        let loss = reference.loss_and_gradients(&input, target).unwrap();
        input[at] = before;
        loss
    });
    compare(&format!("{what}: input"), &input_gradient, &numeric)
}

pub fn check(
    what: &str,
    model: ModelBuilder,
    loss: impl Into<Loss>,
    target: &Target,
    batch: usize,
) {
    let model = model.build().unwrap();
    let mut reference = Reference::new(&model, loss, Optimizer::sgd(0.0), 5).unwrap();
    check_reference(what, &mut reference, target, batch).unwrap_or_else(|error| panic!("{error}"));
}

fn summed() -> Loss {
    Loss::cross_entropy().reduction(Reduction::Sum).into()
}

/// An operator between a convolution and a dense layer, on images of `[4, 6, 7]`.
fn check_in_the_middle(what: &str, middle: impl FnOnce(ModelBuilder) -> ModelBuilder) {
    let front = Model::builder([2, 7, 8]).conv2d(4, 2).tanh();
    let model = middle(front).tanh().flatten().dense(3);
    check(what, model, summed(), &Target::from(&[2u8, 0, 1]), 3);
}

#[test]
fn conv_transpose2d() {
    let cases = [
        ConvTranspose2d::new(3, 3),
        ConvTranspose2d::new(2, [2, 3]).stride([3, 2]).bias(false),
        ConvTranspose2d::new(3, 3)
            .stride(2)
            .padding(1)
            .output_padding(1),
        ConvTranspose2d::new(2, [3, 2])
            .dilation([2, 3])
            .padding([0, 2, 1, 3]),
        ConvTranspose2d::new(6, 3)
            .groups(2)
            .stride(2)
            .padding([1, 0]),
        ConvTranspose2d::new(2, [2, 1])
            .stride([1, 2])
            .dilation(3)
            .output_padding(2),
    ];
    for conv in cases {
        check_in_the_middle(&format!("{conv:?}"), |front| front.push(conv.clone()));
    }
    let signal = Model::builder([2, 6]).push(ConvTranspose2d::new(3, [1, 4]).stride([1, 3]));
    check(
        "signal",
        signal.tanh().flatten().dense(3),
        summed(),
        &Target::from(&[1u8, 2]),
        2,
    );
}

#[test]
fn avg_pool2d() {
    let cases = [
        AvgPool2d::new(2),
        AvgPool2d::new(3).stride(1).padding(1),
        AvgPool2d::new([2, 3])
            .stride([2, 1])
            .padding([1, 0, 0, 1])
            .count_include_pad(false),
        AvgPool2d::new(3).stride(2).padding(1).ceil_mode(true),
        AvgPool2d::new([2, 5])
            .stride([3, 4])
            .ceil_mode(true)
            .count_include_pad(false),
    ];
    for pool in cases {
        check_in_the_middle(&format!("{pool:?}"), |front| front.push(pool.clone()));
    }
    let signal = Model::builder([2, 9])
        .conv1d(3, 2)
        .push(AvgPool1d::new(3).stride(2).padding(1));
    check(
        "signal",
        signal.flatten().dense(3),
        summed(),
        &Target::from(&[1u8, 2]),
        2,
    );
}

#[test]
fn max_pool2d_in_ceil_mode() {
    for pool in [
        MaxPool2d::new(4).ceil_mode(true),
        MaxPool2d::new(3).stride(2).padding(1).ceil_mode(true),
        MaxPool2d::new([7, 2]).stride([2, 3]).ceil_mode(true),
    ] {
        check_in_the_middle(&format!("{pool:?}"), |front| {
            // Few of many values are a maximum: the windows see a sum of them.
            front.push(Conv2d::new(4, 3).padding(1)).push(pool.clone())
        });
    }
}

#[test]
fn global_pools() {
    for pool in [GlobalPool::Average, GlobalPool::Softmax] {
        check_in_the_middle(&format!("{pool:?}"), |front| front.push(pool));
    }
    let scan = Model::builder([2, 12])
        .conv1d(6, 7)
        .tanh()
        .conv1d(4, 1)
        .global_max_pool();
    check(
        "Max",
        scan.flatten().dense(3),
        summed(),
        &Target::from(&[1u8, 2]),
        2,
    );
}

#[test]
fn softmax() {
    for log in [false, true] {
        for axis in [0, 1, 2, -1] {
            let softmax = Softmax::new().axis(axis).log(log);
            check_in_the_middle(&format!("{softmax:?}"), |front| front.push(softmax));
        }
    }
}

#[test]
fn norms() {
    check_in_the_middle("batch norm", |front| front.batch_norm());
    // A bias before it has no gradient.
    check_in_the_middle("batch norm of rows", |front| {
        front
            .flatten()
            .push(Linear::new(5).bias(false))
            .push(BatchNorm::new().epsilon(0.1).momentum(0.5))
    });
    check_in_the_middle("layer norm", |front| front.layer_norm());
    check_in_the_middle("layer norm of rows", |front| {
        front.flatten().dense(5).push(LayerNorm::new().epsilon(0.1))
    });
    // Gamma and beta away from one and zero.
    let model = Model::builder([3, 4])
        .batch_norm()
        .tanh()
        .layer_norm()
        .flatten()
        .dense(3);
    let model = model.build().unwrap();
    let mut reference = Reference::new(&model, summed(), Optimizer::sgd(0.1), 5).unwrap();
    for (at, name) in ["0.weight", "0.bias", "2.weight", "2.bias"]
        .into_iter()
        .enumerate()
    {
        let parameter = reference.parameter_mut(name).unwrap();
        parameter.copy_from_slice(&values(parameter.len(), 20 + at as u64));
    }
    let target = Target::from(&[1u8, 2, 0]);
    check_reference("norms", &mut reference, &target, 3).unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn batch_norm_of_a_partial_batch_takes_its_own_count() {
    let model = Model::builder([2, 3])
        .batch_norm()
        .tanh()
        .flatten()
        .dense(3)
        .build()
        .unwrap();
    let new = || Reference::new(&model, summed(), Optimizer::sgd(0.0), 5).unwrap();
    let (mut used, mut fresh) = (new(), new());
    used.step(&values(5 * 6, 3), Target::from(&[0u8, 1, 2, 0, 1]))
        .unwrap();
    let (part, target) = (values(2 * 6, 4), Target::from(&[2u8, 1]));
    let losses = [&mut used, &mut fresh].map(|r| r.loss_and_gradients(&part, &target).unwrap());
    assert_eq!(losses[0], losses[1]);
    assert_eq!(
        used.gradient("0.weight").unwrap(),
        fresh.gradient("0.weight").unwrap()
    );
    check_reference("partial", &mut used, &target, 2).unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn batch_norm_in_evaluation() {
    let geometry = BatchNormGeometry {
        batch: 2,
        channels: 3,
        plane: 4,
    };
    let (epsilon, mut x, gy) = (0.01, values(24, 1), values(24, 2));
    let (mean, variance) = (values(3, 3), [0.5, 1.0, 2.0]);
    let (mut gamma, mut beta) = (values(3, 4), values(3, 5));
    let (mut gx, mut ggamma, mut gbeta) = ([0.0; 24], [0.0; 3], [0.0; 3]);
    cpu::batch_norm_backward_input_eval(&geometry, epsilon, &variance, &gamma, &gy, &mut gx)
        .unwrap();
    cpu::batch_norm_backward_parameters(
        &geometry,
        epsilon,
        &x,
        &mean,
        &variance,
        &gy,
        &mut ggamma,
        &mut gbeta,
    )
    .unwrap();
    let loss = |x: &[f64], gamma: &[f64], beta: &[f64]| -> f64 {
        let mut y = [0.0; 24];
        cpu::batch_norm_forward(&geometry, epsilon, x, &mean, &variance, gamma, beta, &mut y)
            .unwrap();
        y.iter().zip(&gy).map(|(y, gy)| y * gy).sum()
    };
    let mut differ = |which: usize, len| {
        differences(len, |at, step| {
            let value = [&mut x, &mut gamma, &mut beta][which].as_mut_slice();
            value[at] += step;
            let result = loss(&x, &gamma, &beta);
            [&mut x, &mut gamma, &mut beta][which][at] -= step;
            result
        })
    };
    compare("input", &gx, &differ(0, 24)).unwrap();
    compare("gamma", &ggamma, &differ(1, 3)).unwrap();
    compare("beta", &gbeta, &differ(2, 3)).unwrap();
}

#[test]
fn activations_over_their_whole_range() {
    let x: Vec<f64> = (0..256).map(|at| (f64::from(at) - 127.6) * 0.2).collect();
    for activation in Activation::ALL {
        let forward = |x: &[f64]| {
            let mut y = vec![0.0; x.len()];
            cpu::activation_forward(activation, x, &mut y).unwrap();
            y
        };
        let mut analytic = vec![0.0; x.len()];
        let ones = vec![1.0; x.len()];
        cpu::activation_backward(activation, &x, &forward(&x), &ones, &mut analytic).unwrap();
        let numeric = differences(x.len(), |at, step| forward(&[x[at] + step])[0]);
        // Sigmoid, tanh and the like are flat but around zero.
        let around = 118..138;
        compare(
            activation.name(),
            &analytic[around.clone()],
            &numeric[around],
        )
        .unwrap();
        for (analytic, numeric) in analytic.iter().zip(&numeric) {
            assert!(
                (analytic - numeric).abs() < 1e-7,
                "{activation:?} {analytic} {numeric}"
            );
        }
        check_in_the_middle(activation.name(), |front| {
            front.conv2d(4, 2).push(activation)
        });
    }
}

#[test]
fn dropout() {
    check_in_the_middle("dropout", |front| front.conv2d(5, 2).dropout(0.4));
    check_in_the_middle("two", |front| {
        front.dropout(0.2).flatten().dense(9).tanh().dropout(0.5)
    });
}

#[test]
fn views() {
    check_in_the_middle("reshape", |front| front.reshape([8, 21]).conv1d(3, 4));
    check_in_the_middle("flatten", |front| {
        front.flatten().reshape([7, 4, 6]).conv2d(3, 2)
    });
}

#[test]
fn values_used_more_than_once() {
    check_in_the_middle("shortcut", |front| {
        front.residual_with(
            |body| {
                body.push(Conv2d::new(6, 3).padding(1).stride(2).bias(false))
                    .batch_norm()
                    .relu()
            },
            |shortcut| {
                shortcut
                    .push(Conv2d::new(6, 1).stride(2).bias(false))
                    .batch_norm()
            },
        )
    });
    check_in_the_middle("concat", |front| {
        front.concat([
            Branch::new(|branch| branch.conv2d(3, 1).tanh()),
            Branch::new(|branch| branch),
            Branch::new(|branch| {
                branch
                    .push(MaxPool2d::new(3).stride(1).padding(1))
                    .conv2d(2, 1)
            }),
        ])
    });
    check_in_the_middle("twice the same", |front| {
        front.concat([Branch::new(|branch| branch), Branch::new(|branch| branch)])
    });
    check_in_the_middle("nested", |front| {
        front.residual(|body| {
            body.concat([
                Branch::new(|branch| branch.conv2d(1, 1).residual(|inner| inner.sigmoid())),
                Branch::new(|branch| branch.push(Conv2d::new(3, 3).padding(1)).silu()),
            ])
        })
    });
    let rows = Model::builder([4]).concat([
        Branch::new(|branch| branch.dense(3).tanh()),
        Branch::new(|branch| branch),
    ]);
    check("rows", rows.dense(3), summed(), &Target::from(&[1u8, 2]), 2);
}

pub const REDUCTIONS: [Reduction; 3] = [Reduction::Mean, Reduction::Sum, Reduction::BatchMean];

#[test]
fn losses() {
    let model = || Model::builder([5]).dense(7).tanh().dense(4);
    let labels = Target::from(&[3i64, 0, -100, 1]);
    // Not all rows sum to 1.
    let soft = Target::from(&[
        0.1f32, 0.2, 0.3, 0.4, 0.0, 0.5, 0.25, 0.5, 1.0, 0.0, 0.0, 0.0, 0.7, 0.1, 0.1, 0.1,
    ]);
    for reduction in REDUCTIONS {
        let entropy = || Loss::cross_entropy().reduction(reduction);
        let weights = || entropy().class_weights([0.5, 2.0, 0.0, 1.5]);
        let ignoring = || weights().ignored_label(-100);
        check(
            "ignored",
            model(),
            entropy().ignored_label(-100),
            &labels,
            4,
        );
        check("ignored, weights", model(), ignoring(), &labels, 4);
        check(
            "all options",
            model(),
            ignoring().label_smoothing(0.2),
            &labels,
            4,
        );
        check("soft, weights", model(), weights(), &soft, 4);
        check(
            "soft, weights, smoothing",
            model(),
            weights().label_smoothing(0.2),
            &soft,
            4,
        );
        check(
            "soft, smoothing",
            model(),
            entropy().label_smoothing(0.2),
            &soft,
            4,
        );
        let binary = Loss::from(Loss::binary_cross_entropy().reduction(reduction));
        check("binary", model(), binary.clone(), &soft, 4);
        let squared = Loss::mean_squared_error().reduction(reduction);
        check("squared", model(), squared, &soft, 4);
        let image = Model::builder([1, 4, 4]).conv2d(2, 3).tanh().conv2d(1, 2);
        check(
            "binary, image",
            image,
            binary,
            &Target::from(&[0.5f32, 1.0]),
            2,
        );
    }
}

#[test]
fn a_faulty_gradient_is_detected() {
    let numeric = values(12, 7);
    type Fault = fn(&mut Vec<f64>);
    let faults: [(&str, Fault); 5] = [
        ("one element off by 1%", |gradient| gradient[1] *= 1.01),
        ("two elements swapped", |gradient| gradient.swap(0, 2)),
        ("the last element dropped", |gradient| gradient[11] = 0.0),
        ("not a number", |gradient| gradient[0] = f64::NAN),
        ("too short", |gradient| gradient.truncate(2)),
    ];
    assert_eq!(compare("correct", &numeric, &numeric), Ok(()));
    for (what, fault) in faults {
        let mut analytic = numeric.clone();
        fault(&mut analytic);
        assert!(
            compare(what, &analytic, &numeric).is_err(),
            "{what} was not detected"
        );
    }
    assert!(compare("zeros", &[0.0; 9], &[0.0; 9]).is_err());
}
