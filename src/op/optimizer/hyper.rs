//! Hyper-parameters that several optimizers have, by what they are.

use super::{Adam, Optimizer, RmsProp, Sgd};
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
        let place = match (self, hyper) {
            (
                Self::Sgd(Sgd { weight_decay, .. })
                | Self::Adam(Adam { weight_decay, .. })
                | Self::RmsProp(RmsProp { weight_decay, .. }),
                Hyper::WeightDecay(value),
            ) => Some((weight_decay, value)),
            (
                Self::Sgd(Sgd { momentum, .. }) | Self::RmsProp(RmsProp { momentum, .. }),
                Hyper::Momentum(value),
            ) => Some((momentum, value)),
            (
                Self::Adam(Adam { epsilon, .. }) | Self::RmsProp(RmsProp { epsilon, .. }),
                Hyper::Epsilon(value),
            ) => Some((epsilon, value)),
            (Self::Adam(Adam { betas, .. }), Hyper::Betas(values)) => {
                *betas = values;
                return Ok(());
            }
            (Self::Adam(_), Hyper::Momentum(_))
            | (Self::Sgd(_), Hyper::Betas(_) | Hyper::Epsilon(_))
            | (Self::RmsProp(_), Hyper::Betas(_)) => None,
        };
        let (place, value) = place.ok_or_else(|| {
            let (name, reason) = (hyper.name(), "is none of this optimizer's");
            Error::argument(name, reason)
        })?;
        *place = value;
        Ok(())
    }
}

impl Hyper {
    fn name(self) -> &'static str {
        match self {
            Self::WeightDecay(_) => "weight_decay",
            Self::Momentum(_) => "momentum",
            Self::Betas(_) => "betas",
            Self::Epsilon(_) => "epsilon",
        }
    }
}
