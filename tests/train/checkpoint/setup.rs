//! Small trainings with all that a checkpoint must keep.

use wgpu_cnn::{
    Activation, Add, Average, BatchNorm, Conv2d, DropUnit, Dropout, Flatten, Group, Linear, Loss,
    Losses, Model, Optimizer, Result, Schedule, Target, Targets, Trainer, TrainerBuilder,
};

use crate::common::{labels, random, uniform};

pub const STEPS: usize = 12;
const BATCH: usize = 4;

/// What a training has beside the plainest of SGD.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Feature {
    Momentum,
    Nesterov,
    Adam,
    AmsGrad,
    AdamW,
    RmsProp,
    CenteredRmsProp,
    Adagrad,
    Adadelta,
    NAdam,
    Lion,
    Schedule,
    Groups,
    Frozen,
    FrozenStatistics,
    Average,
    Dropout,
    Dropout2d,
    StochasticDepth,
    BatchNorm,
    CumulativeBatchNorm,
    Accumulate,
    PartialBatch,
    SeveralLosses,
    OwnLoss,
    SumLoss,
    IgnoredLabels,
    Clip,
    Rate,
    Predictions,
    Pieces,
    Half,
}

impl Feature {
    pub const ALL: [Self; 32] = [
        Self::Momentum,
        Self::Nesterov,
        Self::Adam,
        Self::AmsGrad,
        Self::AdamW,
        Self::RmsProp,
        Self::CenteredRmsProp,
        Self::Adagrad,
        Self::Adadelta,
        Self::NAdam,
        Self::Lion,
        Self::Schedule,
        Self::Groups,
        Self::Frozen,
        Self::FrozenStatistics,
        Self::Average,
        Self::Dropout,
        Self::Dropout2d,
        Self::StochasticDepth,
        Self::BatchNorm,
        Self::CumulativeBatchNorm,
        Self::Accumulate,
        Self::PartialBatch,
        Self::SeveralLosses,
        Self::OwnLoss,
        Self::SumLoss,
        Self::IgnoredLabels,
        Self::Clip,
        Self::Rate,
        Self::Predictions,
        Self::Pieces,
        Self::Half,
    ];

    pub fn is_for_gpus(self) -> bool {
        matches!(self, Self::Pieces | Self::Half)
    }
}

/// A training with some features.
#[derive(Debug)]
pub struct Setup(Vec<Feature>);

impl Setup {
    pub fn of(features: &[Feature]) -> Self {
        Self(features.to_vec())
    }

    pub fn has(&self, feature: Feature) -> bool {
        self.0.contains(&feature)
    }

    fn model(&self) -> Result<Model> {
        let mut net = Model::graph();
        let image = net.input([2, 4, 4]);
        let mut y = net.add("conv", Conv2d::new(3, 3).padding(1), [image])?;
        if self.has(Feature::BatchNorm) || self.has(Feature::FrozenStatistics) {
            y = net.add("bn", BatchNorm::new(), [y])?;
        }
        if self.has(Feature::CumulativeBatchNorm) {
            y = net.add("cumulative", BatchNorm::new().momentum(None), [y])?;
        }
        y = net.apply(Activation::Relu, [y])?;
        let mut side = net.add("side", Conv2d::new(3, 1), [y])?;
        if self.has(Feature::Dropout2d) {
            side = net.apply(Dropout::new(0.3).unit(DropUnit::Channel), [side])?;
        }
        if self.has(Feature::StochasticDepth) {
            side = net.apply(Dropout::new(0.3).unit(DropUnit::Example), [side])?;
        }
        y = net.apply(Add, [y, side])?;
        let mut flat = net.apply(Flatten, [y])?;
        if self.has(Feature::Dropout) {
            flat = net.apply(Dropout::new(0.4), [flat])?;
        }
        let class = net.add("class", Linear::new(3), [flat])?;
        let other = net.add("other", Linear::new(2), [flat])?;
        net.build([class, other])
    }

    fn optimizer(&self) -> Optimizer {
        for feature in &self.0 {
            return match feature {
                Feature::Momentum => Optimizer::sgd(0.05).momentum(0.9).dampening(0.25).into(),
                Feature::Nesterov => Optimizer::sgd(0.05).momentum(0.9).nesterov(true).into(),
                Feature::Adam => Optimizer::adam(0.01).into(),
                Feature::AmsGrad => Optimizer::adam(0.01).amsgrad(true).weight_decay(0.1).into(),
                Feature::AdamW => Optimizer::adamw(0.01).into(),
                Feature::RmsProp => Optimizer::rmsprop(0.01).momentum(0.5).into(),
                Feature::CenteredRmsProp => Optimizer::rmsprop(0.01).centered(true).into(),
                Feature::Adagrad => {
                    let adagrad = Optimizer::adagrad(0.05).learning_rate_decay(0.1);
                    adagrad.initial_accumulator(0.1).into()
                }
                Feature::Adadelta => Optimizer::adadelta(1.0).into(),
                Feature::NAdam => Optimizer::nadam(0.01).into(),
                Feature::Lion => Optimizer::lion(0.001).weight_decay(0.1).into(),
                _ => continue,
            };
        }
        Optimizer::sgd(0.05).into()
    }

    fn losses(&self) -> Losses {
        let class = Loss::cross_entropy().ignored_label(-1);
        if self.has(Feature::OwnLoss) {
            return Losses::own("class");
        }
        if self.has(Feature::SeveralLosses) {
            let of_class = Losses::of("class", class, 1.5);
            return of_class.and("other", Loss::mean_squared_error(), 0.25);
        }
        match self.has(Feature::SumLoss) {
            true => class.reduction(wgpu_cnn::Reduction::Sum).into(),
            false => class.into(),
        }
    }

    pub fn builder(&self) -> TrainerBuilder {
        let builder = Trainer::builder(self.model().unwrap())
            .batch(BATCH)
            .seed(11);
        let mut builder = builder.optimizer(self.optimizer()).loss(self.losses());
        if self.has(Feature::Accumulate) {
            builder = builder.accumulate(3);
        }
        if self.has(Feature::Schedule) {
            builder = builder.schedule(Schedule::cosine(8, 1e-4).warm_up(2));
        }
        if self.has(Feature::Average) {
            builder = builder.average(Average::ema(0.75));
        }
        if self.has(Feature::Clip) {
            builder = builder.clip_norm(0.3);
        }
        if self.has(Feature::Pieces) {
            builder = builder.max_slab(400);
        }
        if self.has(Feature::Schedule) {
            builder = builder.schedule(Schedule::cosine(9, 1e-3).warm_up(2));
        }
        if self.has(Feature::Groups) {
            let side = Group::new("side.*").rate_factor(0.5).weight_decay(0.125);
            let head = Group::new("class.bias").optimizer(Optimizer::adam(0.02));
            builder = builder.group(side).group(head);
        }
        if self.has(Feature::Average) {
            builder = builder.average(Average::ema(0.75));
        }
        if self.has(Feature::Frozen) {
            builder = builder.freeze("conv.*");
        }
        if self.has(Feature::FrozenStatistics) {
            builder = builder.freeze_statistics("bn.*");
        }
        builder.half_precision(self.has(Feature::Half))
    }

    /// The images of a batch, and what they should have been.
    pub fn batch(&self, step: usize) -> (Vec<f32>, Targets) {
        let rng = &mut random(1000 + step as u64);
        let partial = self.has(Feature::PartialBatch) && step % 3 != 1;
        let examples = if partial { 1 + step % 3 } else { BATCH };
        // A batch norm needs more than one value a channel, which an image has.
        let x = uniform(rng, 32 * examples);
        let mut classes: Vec<i64> = labels(rng, examples, 3)
            .into_iter()
            .map(i64::from)
            .collect();
        if self.has(Feature::IgnoredLabels) {
            let all = step == 4;
            let ignored = classes.iter_mut().filter(|_| all || rng.bool());
            ignored.for_each(|label| *label = -1);
        }
        let classes = Target::from(classes);
        let targets: Targets = match self.has(Feature::SeveralLosses) {
            true => vec![classes, Target::Values(uniform(rng, 2 * examples))].into(),
            false => classes.into(),
        };
        (x, targets)
    }

    /// The gradient of a loss of one's own.
    pub fn own_gradient(outputs: &[(String, Vec<f32>)]) -> Vec<f32> {
        outputs[0].1.iter().map(|y| y.tanh() / 4.0).collect()
    }

    /// One call of a training, with what goes with it.
    pub fn step(&self, trainer: &mut Trainer, step: usize) {
        let (x, targets) = self.batch(step);
        if self.has(Feature::Rate) && step % 4 == 2 {
            trainer
                .set_learning_rate(0.01 / (1.0 + step as f64))
                .unwrap();
        }
        if self.has(Feature::Predictions) {
            trainer.predict(&x).unwrap();
        }
        if self.has(Feature::OwnLoss) {
            let outputs = trainer.forward(&x).unwrap();
            let gradient = Self::own_gradient(&outputs);
            trainer.backward([&gradient]).unwrap();
            if !self.has(Feature::Accumulate) || step % 3 == 1 {
                trainer.update().unwrap();
            }
            return;
        }
        trainer.step(&x, targets).unwrap();
        // An epoch that ends between two updates.
        if self.has(Feature::Accumulate) && step == 6 {
            trainer.update().unwrap();
        }
    }
}
