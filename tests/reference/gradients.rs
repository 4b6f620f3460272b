//! Finite differences judge the CPU reference, in f64: every operator in the middle of a graph, the
//! gradient of every parameter and of the input.

use wgpu_cnn::{
    Activation, Conv2d, Linear, Loss, MaxPool2d, Model, ModelBuilder, Optimizer, Padding,
    Reduction, Reference, Target,
};

use crate::differences::{compare, differences, values};

/// A tensor's gradient by the chain rule, and by finite differences.
struct Gradient {
    name: String,
    analytic: Vec<f64>,
    numeric: Vec<f64>,
}

impl Gradient {
    fn check(&self) -> Result<(), String> {
        compare(&self.name, &self.analytic, &self.numeric)
    }
}

/// The gradients of every parameter and of the input.
fn gradients(model: &Model, loss: Loss, target: &Target, batch: usize) -> Vec<Gradient> {
    let optimizer = Optimizer::sgd(0.0);
    let mut reference = Reference::<f64>::new(model, loss, optimizer, 5).unwrap();
    let mut input = values(batch * model.input_shape().len(), 1);
    let (_, input_gradient) = reference.loss_and_input_gradient(&input, target).unwrap();
    let names: Vec<String> = model
        .parameters()
        .map(|(name, _)| name.to_owned())
        .collect();
    let mut gradients = Vec::new();
    for name in names {
        let analytic = reference.gradient(&name).unwrap().to_vec();
        let numeric = differences(analytic.len(), |at, step| {
            reference.parameter_mut(&name).unwrap()[at] += step;
            let loss = reference.loss(&input, target).unwrap();
            reference.parameter_mut(&name).unwrap()[at] -= step;
            loss
        });
        gradients.push(Gradient {
            name,
            analytic,
            numeric,
        });
    }
    let numeric = differences(input.len(), |at, step| {
        let before = input[at];
        input[at] += step;
        let loss = reference.loss(&input, target).unwrap();
        input[at] = before;
        loss
    });
    gradients.push(Gradient {
        name: "input".into(),
        analytic: input_gradient,
        numeric,
    });
    gradients
}

fn check(what: &str, model: ModelBuilder, loss: Loss, target: Target, batch: usize) {
    let model = model.build().unwrap();
    for gradient in gradients(&model, loss, &target, batch) {
        gradient
            .check()
            .unwrap_or_else(|error| panic!("{what}: {error}"));
    }
}

fn summed() -> Loss {
    Loss::cross_entropy().reduction(Reduction::Sum).into()
}

/// An operator between a convolution and a dense layer, on images of `[3, 8, 9]`.
fn check_in_the_middle(what: &str, middle: impl FnOnce(ModelBuilder) -> ModelBuilder) {
    let front = Model::builder([2, 9, 10]).conv2d(3, 2).tanh();
    let model = middle(front).tanh().flatten().dense(3);
    check(what, model, summed(), Target::from(&[2u8, 0]), 2);
}

#[test]
fn conv2d() {
    let cases = [
        Conv2d::new(4, 3),
        Conv2d::new(2, [2, 3]).stride([3, 2]).bias(false),
        Conv2d::new(3, 3).padding([0, 2, 1, 3]),
        Conv2d::new(3, [3, 2]).dilation([2, 3]).padding(1),
        Conv2d::new(6, 3).groups(3).stride(2).padding(1),
        Conv2d::new(3, 4).padding(Padding::Same),
        Conv2d::new(2, [2, 5])
            .padding(Padding::Same)
            .stride(2)
            .dilation([3, 1]),
    ];
    for conv in cases {
        check_in_the_middle(&format!("{conv:?}"), |front| front.push(conv.clone()));
    }
}

#[test]
fn conv2d_of_a_signal() {
    let model = Model::builder([2, 12])
        .conv2d(3, [1, 3])
        .tanh()
        .push(Conv2d::new(2, [1, 4]).stride([1, 2]).padding([0, 0, 1, 2]))
        .tanh()
        .push(MaxPool2d::new([1, 2]))
        .flatten()
        .dense(3);
    check("signal", model, summed(), Target::from(&[1u8, 2]), 2);
}

#[test]
fn max_pool2d() {
    let cases = [
        MaxPool2d::new(2),
        MaxPool2d::new(3).stride(1),
        MaxPool2d::new([2, 3]).stride([2, 1]).padding([1, 0, 0, 1]),
        MaxPool2d::new(2).stride(1).dilation([3, 2]).padding(1),
    ];
    for pool in cases {
        check_in_the_middle(&format!("{pool:?}"), |front| front.push(pool.clone()));
    }
}

#[test]
fn linear() {
    check_in_the_middle("after flatten", |front| front.flatten().dense(5));
    check_in_the_middle("last axis", |front| front.push(Linear::new(4).bias(false)));
}

#[test]
fn activations() {
    for activation in Activation::ALL {
        check_in_the_middle(activation.name(), |front| {
            front.conv2d(4, 2).push(activation)
        });
    }
}

#[test]
fn values_used_twice() {
    check_in_the_middle("residual", |front| {
        front.residual(|body| body.push(Conv2d::new(3, 3).padding(1)).sigmoid())
    });
    check_in_the_middle("nested", |front| {
        front.residual(|body| {
            let body = body.tanh().residual(|inner| inner.push(Conv2d::new(3, 1)));
            body.push(Conv2d::new(3, 3).padding(1))
        })
    });
    check_in_the_middle("x + x", |front| front.residual(|body| body));
    let model = Model::builder([6])
        .residual(|body| body.dense(6).tanh())
        .dense(3);
    check(
        "at the input",
        model,
        summed(),
        Target::from(&[0u8, 1, 2]),
        3,
    );
}

#[test]
fn losses() {
    let model = || Model::builder([5]).dense(7).tanh().dense(4);
    let labels = Target::from(&[3u8, 0, 1]);
    // Not all rows sum to 1.
    let values = Target::from(&[
        0.1f32, 0.2, 0.3, 0.4, 0.0, 0.5, 0.25, 0.5, 1.0, 0.0, 0.0, 0.0,
    ]);
    for reduction in [Reduction::Mean, Reduction::Sum] {
        let entropy = Loss::from(Loss::cross_entropy().reduction(reduction));
        let squared = Loss::mean_squared_error().reduction(reduction);
        check(
            "cross-entropy, labels",
            model(),
            entropy.clone(),
            labels.clone(),
            3,
        );
        check(
            "cross-entropy, probabilities",
            model(),
            entropy,
            values.clone(),
            3,
        );
        check("squared error", model(), squared, values.clone(), 3);
    }
    let image = Model::builder([1, 4, 4]).conv2d(2, 3).tanh().conv2d(1, 2);
    let target = Target::from(&[0.5f32, -1.0]);
    check(
        "squared error of an image",
        image,
        Loss::mean_squared_error(),
        target,
        2,
    );
}

#[test]
fn a_faulty_gradient_is_detected() {
    let model = Model::builder([1, 6, 6])
        .conv2d(3, 3)
        .tanh()
        .flatten()
        .dense(4)
        .build()
        .unwrap();
    let correct = || gradients(&model, summed(), &Target::from(&[1u8, 3]), 2);
    assert!(correct().iter().all(|gradient| gradient.check().is_ok()));
    type Fault = fn(&mut Vec<f64>);
    let faults: [(&str, Fault); 6] = [
        ("one element off by 1%", |gradient| gradient[1] *= 1.01),
        ("two elements swapped", |gradient| gradient.swap(0, 2)),
        ("the last element dropped", |gradient| {
            *gradient.last_mut().unwrap() = 0.0
        }),
        ("the wrong sign", |gradient| {
            gradient.iter_mut().for_each(|g| *g = -*g)
        }),
        ("not a number", |gradient| gradient[0] = f64::NAN),
        ("too short", |gradient| gradient.truncate(2)),
    ];
    for (what, fault) in faults {
        for mut gradient in correct() {
            fault(&mut gradient.analytic);
            assert!(
                gradient.check().is_err(),
                "{what} in {} was not detected",
                gradient.name
            );
        }
    }
}

#[test]
fn a_comparison_of_zeros_fails() {
    let mut gradient = vec![0.0; 100];
    gradient[..20].fill(1.0);
    let gradient = Gradient {
        name: "mostly zero".into(),
        analytic: gradient.clone(),
        numeric: gradient,
    };
    assert!(gradient.check().unwrap_err().contains("20 of 100"));
}
