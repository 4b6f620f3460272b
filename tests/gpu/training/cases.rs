//! The models that are trained.

use wgpu_cnn::engine::Reference;
use wgpu_cnn::{
    Conv2d, Gpu, Loss, MaxPool2d, Model, Optimizer, Padding, Reduction, Target, Trainer,
    TrainerBuilder,
};

use crate::common::{labels, uniform};

pub struct Case {
    pub name: &'static str,
    pub model: Model,
    pub loss: Loss,
    pub optimizer: Optimizer,
    pub batch: usize,
    /// How far the built-in functions of the model and its loss may be off, relatively.
    pub(super) accuracy: f64,
}

/// exp on Mesa's software driver, which the cross-entropy needs: 3.8e-6. WGSL allows more.
const EXP: f64 = 4e-6;
/// tanh there: 1.7e-5.
const TANH: f64 = 2e-5;

impl Case {
    pub fn new(name: &'static str, batch: usize, model: Result<Model, wgpu_cnn::Error>) -> Self {
        let optimizer = Optimizer::sgd(0.1).momentum(0.5).into();
        let (model, loss) = (model.unwrap(), Loss::default());
        Self {
            name,
            model,
            loss,
            optimizer,
            batch,
            accuracy: EXP,
        }
    }

    fn loss(mut self, loss: Loss) -> Self {
        self.loss = loss;
        self
    }

    pub fn optimizer(mut self, optimizer: impl Into<Optimizer>) -> Self {
        self.optimizer = optimizer.into();
        self
    }

    fn accuracy(mut self, accuracy: f64) -> Self {
        self.accuracy = accuracy;
        self
    }

    pub fn trainer(&self, gpu: &Gpu) -> Trainer {
        self.builder().on(gpu).unwrap()
    }

    pub fn builder(&self) -> TrainerBuilder {
        let builder = Trainer::builder(self.model.clone())
            .batch(self.batch)
            .seed(5);
        builder.loss(self.loss.clone()).optimizer(self.optimizer)
    }

    pub(super) fn reference<T: wgpu_cnn::cpu::Real>(&self) -> Reference<T> {
        Reference::new(&self.model, self.loss.clone(), self.optimizer, 5).unwrap()
    }

    /// A batch of `examples`.
    pub fn data(&self, rng: &mut fastrand::Rng, examples: usize) -> (Vec<f32>, Target) {
        let outputs = self.model.output_shape().len();
        let x = uniform(rng, examples * self.model.input_shape().len());
        let target = match self.loss {
            Loss::CrossEntropy(_) => Target::Labels(labels(rng, examples, outputs as u32)),
            _ => Target::Values(uniform(rng, examples * outputs)),
        };
        (x, target)
    }
}

/// Between them these models use every kernel in every fused form.
pub fn cases() -> Vec<Case> {
    let same = |channels, kernel: usize| Conv2d::new(channels, kernel).padding(Padding::Same);
    let mse = Loss::mean_squared_error();
    vec![
        Case::new(
            "a chain with pools",
            6,
            Model::builder([1, 14, 14])
                .conv2d(6, 3)
                .relu()
                .max_pool2d(2)
                .conv2d(18, 3)
                .relu()
                .max_pool2d(2)
                .flatten()
                .dense(20)
                .relu()
                .dense(10)
                .build(),
        )
        .optimizer(Optimizer::adam(3e-3)),
        Case::new(
            "residual blocks, odd widths",
            3,
            Model::builder([3, 7, 7])
                .push(same(8, 3))
                .relu()
                .residual(|body| body.push(same(8, 3)).relu().push(same(8, 3)))
                .relu()
                .residual(|body| body.push(MaxPool2d::new(3).stride(1).padding(1)))
                .residual(|body| body.residual(|body| body.push(same(8, 5)).tanh()).relu())
                .flatten()
                .dense(4)
                .build(),
        )
        .accuracy(TANH),
        Case::new(
            "residual blocks, whole vectors, and a value added to itself",
            2,
            Model::builder([2, 8, 8])
                .push(same(4, 3))
                .sigmoid()
                .residual(|body| body.push(same(4, 3)))
                .push(same(4, 1).bias(false))
                .relu()
                .residual(|body| body.push(MaxPool2d::new([3, 1]).stride(1).padding([1, 0])))
                .residual(|body| body)
                .max_pool2d(2)
                .flatten()
                .dense(5)
                .build(),
        )
        .optimizer(Optimizer::sgd(0.005)),
        Case::new(
            "sigmoid, tanh and the squared error",
            5,
            Model::builder([2, 9, 9])
                .conv2d(5, 4)
                .tanh()
                .conv2d(3, [2, 3])
                .sigmoid()
                .flatten()
                .dense(6)
                .build(),
        )
        .loss(mse.clone())
        .accuracy(TANH),
        Case::new(
            "an activation at the end",
            4,
            Model::builder([6])
                .dense(9)
                .relu()
                .residual(|b| b.dense(9))
                .dense(3)
                .sigmoid()
                .build(),
        )
        .loss(mse.clone().reduction(Reduction::Sum))
        .optimizer(Optimizer::sgd(0.05).weight_decay(0.01)),
        Case::new(
            "activations before all layers and one after another",
            4,
            Model::builder([2, 6, 6])
                .tanh()
                .conv2d(3, 3)
                .relu()
                .tanh()
                .sigmoid()
                .build(),
        )
        .loss(mse.clone())
        .accuracy(TANH),
        Case::new(
            "flatten at the end",
            4,
            Model::builder([2, 6, 6])
                .max_pool2d(2)
                .conv2d(7, 2)
                .flatten()
                .build(),
        ),
        Case::new(
            "strides, groups and dilation",
            3,
            Model::builder([4, 13, 11])
                .push(Conv2d::new(6, 3).stride(2).padding(1).groups(2))
                .relu()
                .push(Conv2d::new(6, 3).dilation([2, 1]).padding([2, 1]).groups(6))
                .residual(|body| {
                    body.push(same(6, 3).groups(3))
                        .relu()
                        .push(same(6, 3).groups(2))
                })
                .relu()
                .residual(|body| body.push(same(6, 2).groups(2)))
                .push(MaxPool2d::new(2).stride([3, 2]))
                .flatten()
                .dense(3)
                .build(),
        )
        .optimizer(Optimizer::adam(1e-3)),
        Case::new(
            "a signal, rows of features",
            5,
            Model::builder([3, 20])
                .conv2d(4, [1, 5])
                .relu()
                .dense(6)
                .residual(|b| b.dense(6))
                .build(),
        )
        .loss(mse.clone()),
        Case::new(
            "activations after everything that can apply them",
            4,
            Model::builder([2, 8, 8])
                .push(same(4, 3))
                .max_pool2d(2)
                .relu()
                .push(same(4, 3))
                .leaky_relu(0.1)
                .residual(|body| body.push(same(4, 3)))
                .relu()
                .residual(|body| body.residual(|inner| inner.push(same(4, 1))))
                .tanh()
                .global_max_pool()
                .sigmoid()
                .flatten()
                .dense(3)
                .build(),
        ),
        Case::new(
            "more images than a tile",
            70,
            Model::builder([1, 5, 5])
                .conv2d(3, 2)
                .relu()
                .max_pool2d([2, 4])
                .flatten()
                .dense(2)
                .build(),
        ),
    ]
}
