//! Optimizers: how a gradient becomes an update. The formulas, and the order of their operations,
//! are PyTorch's.

use super::{check_small, within};
use crate::{Error, Result};

macro_rules! setters {
    ($name:ident { $($(#[$meta:meta])* $field:ident: $type:ty),* $(,)? }) => {
        impl $name {
            $($(#[$meta])*
            pub fn $field(mut self, $field: $type) -> Self {
                self.$field = $field;
                self
            })*
        }

        impl From<$name> for Optimizer {
            fn from(optimizer: $name) -> Self {
                Self::$name(optimizer)
            }
        }
    };
}

mod adadelta;
mod adagrad;
mod hyper;
mod lion;
mod nadam;

pub use adadelta::Adadelta;
pub use adagrad::Adagrad;
pub(crate) use hyper::Hyper;
pub use lion::Lion;
pub use nadam::NAdam;

/// Stochastic gradient descent with momentum (Sutskever et al. 2013):
/// `g += weight_decay * w; v = momentum * v + (1 - dampening) * g; w -= lr * v`, where the first `v`
/// is `g`; with Nesterov's momentum `w -= lr * (g + momentum * v)`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sgd {
    /// The learning rate.
    pub learning_rate: f64,
    /// The share of the last velocity that is kept. Default 0.
    pub momentum: f64,
    /// The share of the gradient that does not reach the velocity. Default 0.
    pub dampening: f64,
    /// Whether the step looks ahead along the velocity. Default false.
    pub nesterov: bool,
    /// The L2 penalty's factor. Default 0.
    pub weight_decay: f64,
}

setters! {
    Sgd {
        /// Sets the share of the last velocity that is kept.
        momentum: f64,
        /// Sets the share of the gradient that does not reach the velocity.
        dampening: f64,
        /// Sets whether the step looks ahead along the velocity: needs momentum and no dampening.
        nesterov: bool,
        /// Sets the L2 penalty's factor.
        weight_decay: f64,
    }
}

/// Adam (Kingma and Ba 2015): `m = b1*m + (1-b1)*g; v = b2*v + (1-b2)*g^2;
/// w -= lr * m^ / (sqrt(v^) + eps)`, where `m^` and `v^` are corrected for their start at zero.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Adam {
    /// The learning rate.
    pub learning_rate: f64,
    /// Decay rates of the two moments. Default `[0.9, 0.999]`.
    pub betas: [f64; 2],
    /// Keeps the division finite. Default 1e-8.
    pub epsilon: f64,
    /// The weight decay. Default 0, for AdamW 0.01.
    pub weight_decay: f64,
    /// Whether the weights decay by themselves, `w -= lr * weight_decay * w`, rather than through the
    /// gradient: AdamW (Loshchilov and Hutter 2019).
    pub decoupled: bool,
    /// Whether the largest second moment so far takes the place of the latest (Reddi et al. 2018).
    /// Default false.
    pub amsgrad: bool,
}

setters! {
    Adam {
        /// Sets the decay rates of the moments.
        betas: [f64; 2],
        /// Sets the term that keeps the division finite.
        epsilon: f64,
        /// Sets the weight decay.
        weight_decay: f64,
        /// Sets whether the largest second moment so far takes the place of the latest.
        amsgrad: bool,
    }
}

/// RMSprop (Tieleman and Hinton 2012): `s = alpha*s + (1-alpha)*g^2; w -= lr * g / (sqrt(s) + eps)`;
/// centered, `sqrt(s - a^2)` with `a` the running mean of `g` (Graves 2013); with momentum the
/// quotient goes into a velocity.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RmsProp {
    /// The learning rate.
    pub learning_rate: f64,
    /// The decay rate of the mean square. Default 0.99.
    pub alpha: f64,
    /// Keeps the division finite. Default 1e-8.
    pub epsilon: f64,
    /// The share of the last velocity that is kept. Default 0.
    pub momentum: f64,
    /// Whether the variance takes the place of the mean square. Default false.
    pub centered: bool,
    /// The L2 penalty's factor. Default 0.
    pub weight_decay: f64,
}

setters! {
    RmsProp {
        /// Sets the decay rate of the mean square.
        alpha: f64,
        /// Sets the term that keeps the division finite.
        epsilon: f64,
        /// Sets the share of the last velocity that is kept.
        momentum: f64,
        /// Sets whether the variance takes the place of the mean square.
        centered: bool,
        /// Sets the L2 penalty's factor.
        weight_decay: f64,
    }
}

/// An optimizer with its hyper-parameters.
///
/// ```
/// use wgpu_cnn::Optimizer;
/// let plain = Optimizer::sgd(0.1);
/// let usual = Optimizer::sgd(0.1).momentum(0.9).nesterov(true).weight_decay(5e-4);
/// let adam = Optimizer::adam(1e-3).betas([0.9, 0.99]);
/// # let _: [Optimizer; 3] = [plain.into(), usual.into(), adam.into()];
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum Optimizer {
    /// Stochastic gradient descent.
    Sgd(Sgd),
    /// Adam and AdamW.
    Adam(Adam),
    /// RMSprop.
    RmsProp(RmsProp),
    /// Adagrad.
    Adagrad(Adagrad),
    /// Adadelta.
    Adadelta(Adadelta),
    /// NAdam.
    NAdam(NAdam),
    /// Lion.
    Lion(Lion),
}

impl Optimizer {
    /// Stochastic gradient descent without momentum or decay; both can be added.
    pub fn sgd(learning_rate: f64) -> Sgd {
        let (momentum, dampening, weight_decay) = (0.0, 0.0, 0.0);
        Sgd {
            learning_rate,
            momentum,
            dampening,
            nesterov: false,
            weight_decay,
        }
    }

    /// Adam with its authors' defaults.
    pub fn adam(learning_rate: f64) -> Adam {
        Adam {
            learning_rate,
            betas: [0.9, 0.999],
            epsilon: 1e-8,
            weight_decay: 0.0,
            decoupled: false,
            amsgrad: false,
        }
    }

    /// AdamW: Adam with a decoupled weight decay of 0.01.
    pub fn adamw(learning_rate: f64) -> Adam {
        Adam {
            weight_decay: 0.01,
            decoupled: true,
            ..Self::adam(learning_rate)
        }
    }

    /// RMSprop with PyTorch's defaults.
    pub fn rmsprop(learning_rate: f64) -> RmsProp {
        RmsProp {
            learning_rate,
            alpha: 0.99,
            epsilon: 1e-8,
            momentum: 0.0,
            centered: false,
            weight_decay: 0.0,
        }
    }

    /// Adagrad with PyTorch's defaults.
    pub fn adagrad(learning_rate: f64) -> Adagrad {
        Adagrad {
            learning_rate,
            learning_rate_decay: 0.0,
            weight_decay: 0.0,
            initial_accumulator: 0.0,
            epsilon: 1e-10,
        }
    }

    /// Adadelta with PyTorch's defaults, among which the learning rate is 1.
    pub fn adadelta(learning_rate: f64) -> Adadelta {
        Adadelta {
            learning_rate,
            rho: 0.9,
            epsilon: 1e-6,
            weight_decay: 0.0,
        }
    }

    /// NAdam with PyTorch's defaults.
    pub fn nadam(learning_rate: f64) -> NAdam {
        NAdam {
            learning_rate,
            betas: [0.9, 0.999],
            epsilon: 1e-8,
            weight_decay: 0.0,
            momentum_decay: 4e-3,
            decoupled: false,
        }
    }

    /// Lion with its authors' defaults.
    pub fn lion(learning_rate: f64) -> Lion {
        Lion {
            learning_rate,
            betas: [0.9, 0.99],
            weight_decay: 0.0,
        }
    }

    /// The learning rate.
    pub fn learning_rate(&self) -> f64 {
        match self {
            Self::Sgd(Sgd { learning_rate, .. })
            | Self::Adam(Adam { learning_rate, .. })
            | Self::RmsProp(RmsProp { learning_rate, .. })
            | Self::Adagrad(Adagrad { learning_rate, .. })
            | Self::Adadelta(Adadelta { learning_rate, .. })
            | Self::NAdam(NAdam { learning_rate, .. })
            | Self::Lion(Lion { learning_rate, .. }) => *learning_rate,
        }
    }

    /// Changes the learning rate.
    pub(crate) fn set_learning_rate(&mut self, rate: f64) {
        match self {
            Self::Sgd(Sgd { learning_rate, .. })
            | Self::Adam(Adam { learning_rate, .. })
            | Self::RmsProp(RmsProp { learning_rate, .. })
            | Self::Adagrad(Adagrad { learning_rate, .. })
            | Self::Adadelta(Adadelta { learning_rate, .. })
            | Self::NAdam(NAdam { learning_rate, .. })
            | Self::Lion(Lion { learning_rate, .. }) => *learning_rate = rate,
        }
    }

    /// Numbers kept per parameter between updates: the velocity for SGD; the
    /// two moments, and the largest second one, for Adam; the mean square, then the mean if centered,
    /// then the velocity, for RMSprop; the sum of squares for Adagrad; the mean squares of gradients and of
    /// steps for Adadelta; the two moments for NAdam; the mean for Lion. What they are
    /// [at first](Self::initial_state) is 0 but for Adagrad.
    pub fn state_slots(&self) -> usize {
        match self {
            Self::Sgd(sgd) => usize::from(sgd.momentum != 0.0),
            Self::Adam(adam) => 2 + usize::from(adam.amsgrad),
            Self::RmsProp(rms) => 1 + usize::from(rms.centered) + usize::from(rms.momentum != 0.0),
            Self::Adagrad(_) | Self::Lion(_) => 1,
            Self::Adadelta(_) | Self::NAdam(_) => 2,
        }
    }

    /// What a slot of the state holds before the first update: 0, but for Adagrad's sum of squares.
    pub fn initial_state(&self, slot: usize) -> f64 {
        match self {
            Self::Adagrad(adagrad) if slot == 0 => adagrad.initial_accumulator,
            Self::Adagrad(_)
            | Self::Sgd(_)
            | Self::Adam(_)
            | Self::RmsProp(_)
            | Self::Adadelta(_)
            | Self::NAdam(_)
            | Self::Lion(_) => 0.0,
        }
    }

    /// Whether a slot of its state is a sum or a mean of squares, which is never negative.
    pub(crate) fn state_is_square(&self, slot: usize) -> bool {
        match self {
            Self::Sgd(_) | Self::Lion(_) => false,
            Self::Adam(_) | Self::NAdam(_) => slot >= 1,
            Self::RmsProp(_) | Self::Adagrad(_) => slot == 0,
            Self::Adadelta(_) => true,
        }
    }

    /// Refuses hyper-parameters outside their domain, NaN among them and what is infinite in 32 bits.
    pub(crate) fn check(&self) -> Result<()> {
        let positive = || 0.0..f64::INFINITY;
        within("learning rate", self.learning_rate(), positive())?;
        match *self {
            Self::Sgd(Sgd {
                momentum,
                dampening,
                nesterov,
                weight_decay,
                ..
            }) => {
                within("momentum", momentum, positive())?;
                within("dampening", dampening, f64::NEG_INFINITY..f64::INFINITY)?;
                within("weight decay", weight_decay, positive())?;
                if nesterov && (momentum == 0.0 || dampening != 0.0) {
                    return Err(Error::argument(
                        "nesterov",
                        "needs momentum and no dampening",
                    ));
                }
            }
            Self::Adam(Adam {
                learning_rate,
                betas,
                epsilon,
                weight_decay,
                decoupled,
                amsgrad: _,
            }) => {
                within("beta 1", betas[0], 0.0..1.0)?;
                within("beta 2", betas[1], 0.0..1.0)?;
                check_small("epsilon", epsilon)?;
                check_decay(learning_rate, weight_decay, decoupled)?;
            }
            Self::RmsProp(RmsProp {
                alpha,
                epsilon,
                momentum,
                weight_decay,
                ..
            }) => {
                within("alpha", alpha, 0.0..1.0)?;
                check_small("epsilon", epsilon)?;
                within("momentum", momentum, positive())?;
                within("weight decay", weight_decay, positive())?;
            }
            Self::Adagrad(adagrad) => adagrad.check()?,
            Self::Adadelta(adadelta) => adadelta.check()?,
            Self::NAdam(nadam) => nadam.check()?,
            Self::Lion(lion) => lion.check()?,
        }
        Ok(())
    }
}

/// Refuses a weight decay out of its domain, decoupled also where it is too large at this rate.
fn check_decay(learning_rate: f64, weight_decay: f64, decoupled: bool) -> Result<()> {
    let positive = || 0.0..f64::INFINITY;
    within("weight decay", weight_decay, positive())?;
    match decoupled {
        true => {
            let product = learning_rate * weight_decay;
            within("learning rate * weight decay", product, positive())
        }
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hyper_parameters_outside_their_domain_are_refused() {
        let refused: [Optimizer; 34] = [
            Optimizer::sgd(1e300).into(),
            Optimizer::sgd(1e39).into(),
            Optimizer::sgd(0.1).momentum(1e300).into(),
            Optimizer::sgd(0.1).dampening(-1e300).into(),
            Optimizer::sgd(0.1).weight_decay(1e300).into(),
            Optimizer::adam(0.1).epsilon(1e300).into(),
            Optimizer::adam(0.1).weight_decay(f64::NAN).into(),
            Optimizer::rmsprop(0.1).alpha(1.5).into(),
            Optimizer::rmsprop(0.1).momentum(f64::INFINITY).into(),
            Optimizer::sgd(f64::NAN).into(),
            Optimizer::sgd(-0.1).into(),
            Optimizer::sgd(f64::INFINITY).into(),
            Optimizer::sgd(0.1).momentum(f64::NAN).into(),
            Optimizer::adam(0.1).betas([0.9, 1.0]).into(),
            Optimizer::adam(0.1).epsilon(-1.0).into(),
            Optimizer::adam(0.1).epsilon(1e-320).into(),
            Optimizer::rmsprop(0.1).epsilon(1e-39).into(),
            Optimizer::adamw(1e20).weight_decay(1e20).into(),
            Optimizer::adagrad(f64::NAN).into(),
            Optimizer::adagrad(0.1).learning_rate_decay(-1.0).into(),
            Optimizer::adagrad(0.1).weight_decay(f64::INFINITY).into(),
            Optimizer::adagrad(0.1).initial_accumulator(-0.1).into(),
            Optimizer::adagrad(0.1).initial_accumulator(1e39).into(),
            Optimizer::adagrad(0.1).epsilon(1e-39).into(),
            Optimizer::adadelta(0.1).rho(1.1).into(),
            Optimizer::adadelta(0.1).epsilon(-1e-6).into(),
            Optimizer::adadelta(0.1).weight_decay(f64::NAN).into(),
            Optimizer::nadam(0.1).betas([1.0, 0.9]).into(),
            Optimizer::nadam(0.1).betas([0.9, f64::NAN]).into(),
            Optimizer::nadam(0.1).epsilon(1e-320).into(),
            Optimizer::nadam(0.1).momentum_decay(-0.004).into(),
            Optimizer::nadam(1e20)
                .weight_decay(1e20)
                .decoupled(true)
                .into(),
            Optimizer::lion(0.1).betas([-0.1, 0.99]).into(),
            Optimizer::lion(1e20).weight_decay(1e20).into(),
        ];
        for optimizer in refused {
            assert!(
                matches!(optimizer.check(), Err(Error::Argument { .. })),
                "{optimizer:?}"
            );
        }
        let taken: [Optimizer; 7] = [
            Optimizer::sgd(0.0).into(),
            Optimizer::adam(0.1).epsilon(0.0).into(),
            Optimizer::rmsprop(0.1).epsilon(1e-37).into(),
            Optimizer::adam(1e20).weight_decay(1e20).into(),
            Optimizer::adagrad(0.1).epsilon(0.0).into(),
            Optimizer::adadelta(1.0).rho(1.0).into(),
            Optimizer::nadam(1e20).weight_decay(1e20).into(),
        ];
        for optimizer in taken {
            assert!(optimizer.check().is_ok(), "{optimizer:?}");
        }
    }
}
