//! Optimizers: how a gradient becomes an update.

use crate::{Error, Result};

/// Stochastic gradient descent with momentum and weight decay (Sutskever et al. 2013, in PyTorch's
/// form): `g += weight_decay * w; v = momentum * v + g; w -= lr * v`, where the first `v` is `g`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sgd {
    /// The learning rate.
    pub learning_rate: f64,
    /// The share of the last velocity that is kept. Default 0.
    pub momentum: f64,
    /// The L2 penalty's factor. Default 0.
    pub weight_decay: f64,
}

impl Sgd {
    /// Sets the momentum.
    pub fn momentum(mut self, momentum: f64) -> Self {
        self.momentum = momentum;
        self
    }

    /// Sets the weight decay.
    pub fn weight_decay(mut self, weight_decay: f64) -> Self {
        self.weight_decay = weight_decay;
        self
    }
}

/// Adam (Kingma and Ba 2015), with the L2 penalty added to the gradient:
/// `m = b1*m + (1-b1)*g; v = b2*v + (1-b2)*g^2; w -= lr * m^ / (sqrt(v^) + eps)`, where `m^` and
/// `v^` are corrected for their start at zero.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Adam {
    /// The learning rate.
    pub learning_rate: f64,
    /// Decay rates of the two moments. Default `[0.9, 0.999]`.
    pub betas: [f64; 2],
    /// Keeps the division finite. Default 1e-8.
    pub epsilon: f64,
    /// The L2 penalty's factor. Default 0.
    pub weight_decay: f64,
}

impl Adam {
    /// Sets the decay rates of the moments.
    pub fn betas(mut self, betas: [f64; 2]) -> Self {
        self.betas = betas;
        self
    }

    /// Sets the term that keeps the division finite.
    pub fn epsilon(mut self, epsilon: f64) -> Self {
        self.epsilon = epsilon;
        self
    }

    /// Sets the weight decay.
    pub fn weight_decay(mut self, weight_decay: f64) -> Self {
        self.weight_decay = weight_decay;
        self
    }
}

/// An optimizer with its hyper-parameters.
///
/// ```
/// use wgpu_cnn::Optimizer;
/// let plain = Optimizer::sgd(0.1);
/// let usual = Optimizer::sgd(0.1).momentum(0.9).weight_decay(5e-4);
/// let adam = Optimizer::adam(1e-3).betas([0.9, 0.99]);
/// # let _: [Optimizer; 3] = [plain.into(), usual.into(), adam.into()];
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum Optimizer {
    /// Stochastic gradient descent.
    Sgd(Sgd),
    /// Adam.
    Adam(Adam),
}

impl From<Sgd> for Optimizer {
    fn from(sgd: Sgd) -> Self {
        Self::Sgd(sgd)
    }
}

impl From<Adam> for Optimizer {
    fn from(adam: Adam) -> Self {
        Self::Adam(adam)
    }
}

impl Optimizer {
    /// Stochastic gradient descent without momentum or decay; both can be added.
    pub fn sgd(learning_rate: f64) -> Sgd {
        Sgd {
            learning_rate,
            momentum: 0.0,
            weight_decay: 0.0,
        }
    }

    /// Adam with its authors' defaults.
    pub fn adam(learning_rate: f64) -> Adam {
        Adam {
            learning_rate,
            betas: [0.9, 0.999],
            epsilon: 1e-8,
            weight_decay: 0.0,
        }
    }

    /// The learning rate.
    pub fn learning_rate(&self) -> f64 {
        match self {
            Self::Sgd(sgd) => sgd.learning_rate,
            Self::Adam(adam) => adam.learning_rate,
        }
    }

    /// Changes the learning rate.
    pub(crate) fn set_learning_rate(&mut self, learning_rate: f64) {
        match self {
            Self::Sgd(sgd) => sgd.learning_rate = learning_rate,
            Self::Adam(adam) => adam.learning_rate = learning_rate,
        }
    }

    /// Numbers kept per parameter between updates.
    pub fn state_slots(&self) -> usize {
        match self {
            Self::Sgd(sgd) if sgd.momentum == 0.0 => 0,
            Self::Sgd(_) => 1,
            Self::Adam(_) => 2,
        }
    }

    /// Refuses hyper-parameters outside their domain, NaN among them.
    pub(crate) fn check(&self) -> Result<()> {
        let within = |name: &str, value: f64, range: std::ops::Range<f64>| {
            if range.contains(&value) {
                Ok(())
            } else {
                let Range { start, end } = range;
                Err(Error::argument(
                    name,
                    format!("{value} is not within {start}..{end}"),
                ))
            }
        };
        use std::ops::Range;
        let positive = 0.0..f64::INFINITY;
        within("learning rate", self.learning_rate(), positive.clone())?;
        match self {
            Self::Sgd(Sgd {
                momentum,
                weight_decay,
                ..
            }) => {
                within("momentum", *momentum, 0.0..f64::INFINITY)?;
                within("weight decay", *weight_decay, positive)
            }
            Self::Adam(Adam {
                betas,
                epsilon,
                weight_decay,
                ..
            }) => {
                within("beta 1", betas[0], 0.0..1.0)?;
                within("beta 2", betas[1], 0.0..1.0)?;
                within("epsilon", *epsilon, positive.clone())?;
                within("weight decay", *weight_decay, positive)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hyper_parameters_outside_their_domain_are_refused() {
        let refused: [Optimizer; 6] = [
            Optimizer::sgd(f64::NAN).into(),
            Optimizer::sgd(-0.1).into(),
            Optimizer::sgd(f64::INFINITY).into(),
            Optimizer::sgd(0.1).momentum(f64::NAN).into(),
            Optimizer::adam(0.1).betas([0.9, 1.0]).into(),
            Optimizer::adam(0.1).epsilon(-1.0).into(),
        ];
        for optimizer in refused {
            assert!(
                matches!(optimizer.check(), Err(Error::Argument { .. })),
                "{optimizer:?}"
            );
        }
        assert!(Optimizer::from(Optimizer::sgd(0.0)).check().is_ok());
    }
}
