//! Hyper-parameters that several optimizers have, by what they are.

use super::{Adadelta, Adagrad, Adam, Lion, NAdam, Optimizer, RmsProp, Sgd};
use crate::{Error, Result};

/// A hyper-parameter with its value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Hyper {
    WeightDecay(f64),
    Momentum(f64),
    Betas([f64; 2]),
    Epsilon(f64),
}

impl Optimizer {
    /// Sets a hyper-parameter, where this optimizer has it.
    pub(crate) fn set(&mut self, hyper: Hyper) -> Result<()> {
        let (name, set) = match hyper {
            Hyper::WeightDecay(value) => {
                *self.weight_decay_mut() = value;
                ("weight_decay", true)
            }
            Hyper::Momentum(value) => ("momentum", put(self.momentum_mut(), value)),
            Hyper::Betas(values) => ("betas", put(self.betas_mut(), values)),
            Hyper::Epsilon(value) => ("epsilon", put(self.epsilon_mut(), value)),
        };
        match set {
            true => Ok(()),
            false => Err(Error::argument(name, "is none of this optimizer's")),
        }
    }

    fn weight_decay_mut(&mut self) -> &mut f64 {
        match self {
            Self::Sgd(Sgd { weight_decay, .. })
            | Self::Adam(Adam { weight_decay, .. })
            | Self::RmsProp(RmsProp { weight_decay, .. })
            | Self::Adagrad(Adagrad { weight_decay, .. })
            | Self::Adadelta(Adadelta { weight_decay, .. })
            | Self::NAdam(NAdam { weight_decay, .. })
            | Self::Lion(Lion { weight_decay, .. }) => weight_decay,
        }
    }

    fn momentum_mut(&mut self) -> Option<&mut f64> {
        match self {
            Self::Sgd(Sgd { momentum, .. }) | Self::RmsProp(RmsProp { momentum, .. }) => {
                Some(momentum)
            }
            Self::Adam(_)
            | Self::Adagrad(_)
            | Self::Adadelta(_)
            | Self::NAdam(_)
            | Self::Lion(_) => None,
        }
    }

    fn betas_mut(&mut self) -> Option<&mut [f64; 2]> {
        match self {
            Self::Adam(Adam { betas, .. })
            | Self::NAdam(NAdam { betas, .. })
            | Self::Lion(Lion { betas, .. }) => Some(betas),
            Self::Sgd(_) | Self::RmsProp(_) | Self::Adagrad(_) | Self::Adadelta(_) => None,
        }
    }

    fn epsilon_mut(&mut self) -> Option<&mut f64> {
        match self {
            Self::Adam(Adam { epsilon, .. })
            | Self::RmsProp(RmsProp { epsilon, .. })
            | Self::Adagrad(Adagrad { epsilon, .. })
            | Self::Adadelta(Adadelta { epsilon, .. })
            | Self::NAdam(NAdam { epsilon, .. }) => Some(epsilon),
            Self::Sgd(_) | Self::Lion(_) => None,
        }
    }
}

/// Whether there is a place for a value, which is there then.
fn put<T>(place: Option<&mut T>, value: T) -> bool {
    place.map(|place| *place = value).is_some()
}
