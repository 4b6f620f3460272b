//! The kernels of src/gpu/kernels/optimizer.rs, through a trainer: each update must be the
//! reference's for the gradient that the GPU itself computed.

use wgpu_cnn::{Adagrad, Gpu, Loss, Model, Optimizer, Trainer, cpu};

use crate::common::{each_gpu, random, uniform, wide};
use crate::compare::Expected;

/// An optimizer by its learning rate.
struct Case {
    name: &'static str,
    at: fn(f64) -> Optimizer,
    /// The same without weight decay, and the decay.
    without_decay: fn(f64) -> Optimizer,
    decay: f64,
}

fn adagrad(lr: f64) -> Adagrad {
    Optimizer::adagrad(lr).learning_rate_decay(0.5)
}

fn cases() -> [Case; 10] {
    let adam: fn(f64) -> Optimizer = |lr| Optimizer::adam(lr).into();
    let sgd: fn(f64) -> Optimizer = |lr| Optimizer::sgd(lr).into();
    let momentum: fn(f64) -> Optimizer = |lr| Optimizer::sgd(lr).momentum(0.9).into();
    let slow: fn(f64) -> Optimizer =
        |lr| Optimizer::adam(lr).betas([0.5, 0.9]).epsilon(1e-2).into();
    [
        Case {
            name: "sgd",
            at: sgd,
            without_decay: sgd,
            decay: 0.0,
        },
        Case {
            name: "sgd, decay",
            at: |lr| Optimizer::sgd(lr).weight_decay(0.1).into(),
            without_decay: sgd,
            decay: 0.1,
        },
        Case {
            name: "momentum",
            at: momentum,
            without_decay: momentum,
            decay: 0.0,
        },
        Case {
            name: "momentum, decay",
            at: |lr| Optimizer::sgd(lr).momentum(0.9).weight_decay(0.05).into(),
            without_decay: momentum,
            decay: 0.05,
        },
        Case {
            name: "adam",
            at: adam,
            without_decay: adam,
            decay: 0.0,
        },
        Case {
            name: "adam, decay, other constants",
            at: |lr| {
                Optimizer::adam(lr)
                    .betas([0.5, 0.9])
                    .epsilon(1e-2)
                    .weight_decay(0.1)
                    .into()
            },
            without_decay: slow,
            decay: 0.1,
        },
        Case {
            name: "adagrad, decay, falling rate",
            at: |lr| adagrad(lr).weight_decay(0.1).into(),
            without_decay: |lr| adagrad(lr).into(),
            decay: 0.1,
        },
        Case {
            name: "adadelta, decay",
            at: |lr| Optimizer::adadelta(10.0 * lr).weight_decay(0.1).into(),
            without_decay: |lr| Optimizer::adadelta(10.0 * lr).into(),
            decay: 0.1,
        },
        Case {
            name: "nadam, decay",
            at: |lr| Optimizer::nadam(lr).weight_decay(0.1).into(),
            without_decay: |lr| Optimizer::nadam(lr).into(),
            decay: 0.1,
        },
        Case {
            name: "lion, decay",
            at: |lr| Optimizer::lion(lr).weight_decay(0.1).into(),
            without_decay: |lr| Optimizer::lion(lr).into(),
            decay: 0.0,
        },
    ]
}

/// A parameter as the reference has it, and how far all its updates would have gone had they never
/// cancelled each other out: what rounding errors are measured against.
struct Shadow {
    name: String,
    value: Vec<f64>,
    state: Vec<Vec<f64>>,
    path: Vec<f64>,
    path_state: Vec<Vec<f64>>,
}

impl Shadow {
    fn new(name: &str, value: Vec<f64>, slots: usize) -> Self {
        let (path, state) = (vec![0.0; value.len()], vec![vec![0.0; value.len()]; slots]);
        Self {
            name: name.into(),
            value,
            path_state: state.clone(),
            state,
            path,
        }
    }

    fn update(&mut self, case: &Case, learning_rate: f64, step: u64, gradient: &[f64]) {
        let magnitudes = gradient
            .iter()
            .zip(&self.value)
            .map(|(g, w)| g.abs() + case.decay * w.abs());
        let magnitudes: Vec<f64> = magnitudes.collect();
        let (exact, path) = (
            (case.at)(learning_rate),
            (case.without_decay)(learning_rate),
        );
        cpu::optimizer_update(&exact, step, &mut self.value, gradient, &mut self.state).unwrap();
        cpu::optimizer_update(
            &path,
            step,
            &mut self.path,
            &magnitudes,
            &mut self.path_state,
        )
        .unwrap();
    }

    fn expected(&self, step: u64) -> Expected {
        let terms = self
            .value
            .iter()
            .zip(&self.path)
            .map(|(w, path)| w.abs() + path.abs());
        Expected::new(
            self.value.clone(),
            &terms.collect::<Vec<_>>(),
            4 * step as usize,
        )
    }
}

fn run(case: &Case, device: &str, gpu: &Gpu) {
    let model = Model::builder([3])
        .dense(5)
        .tanh()
        .dense(2)
        .build()
        .unwrap();
    let mut learning_rate = 0.05;
    let loss = Loss::mean_squared_error();
    let builder = Trainer::builder(model.clone()).batch(4).loss(loss).seed(3);
    let mut trainer = builder.optimizer((case.at)(learning_rate)).on(gpu).unwrap();
    let slots = (case.at)(learning_rate).state_slots();
    let shadow = |name: &str| Shadow::new(name, wide(&trainer.parameter(name).unwrap()), slots);
    let mut shadows: Vec<Shadow> = model.parameters().map(|(name, _)| shadow(name)).collect();
    let mut rng = random(11);
    for step in 1..=9 {
        if step == 5 {
            learning_rate = 0.02;
            trainer.set_learning_rate(learning_rate).unwrap();
            assert_eq!(trainer.learning_rate(), learning_rate);
        }
        let (x, y) = (uniform(&mut rng, 12), uniform(&mut rng, 8));
        trainer.step(&x, &y).unwrap();
        for shadow in &mut shadows {
            let gradient = wide(&trainer.gradient(&shadow.name).unwrap());
            shadow.update(case, learning_rate, step, &gradient);
            let name = format!("{}, {}, step {step}, {device}", case.name, shadow.name);
            shadow
                .expected(step)
                .assert(&name, &trainer.parameter(&shadow.name).unwrap());
        }
    }
}

#[test]
fn updates_equal_the_reference() {
    for case in &cases() {
        for (device, gpu) in each_gpu() {
            run(case, device, gpu);
        }
    }
}

#[test]
fn a_learning_rate_of_zero_changes_nothing() {
    for (_, gpu) in each_gpu() {
        let model = Model::builder([3]).dense(2).build().unwrap();
        let builder = Trainer::builder(model)
            .batch(2)
            .optimizer(Optimizer::adam(0.0));
        let mut trainer = builder.on(gpu).unwrap();
        let before = trainer.parameter("0.weight").unwrap();
        trainer
            .step(&[1.0, 2.0, 3.0, -1.0, 0.5, 0.0], &[0u8, 1])
            .unwrap();
        assert_eq!(before, trainer.parameter("0.weight").unwrap());
        assert!(
            trainer
                .gradient("0.weight")
                .unwrap()
                .iter()
                .any(|&g| g != 0.0)
        );
    }
}
