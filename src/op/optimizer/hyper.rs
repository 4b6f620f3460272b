//! Hyper-parameters that several optimizers have, by what they are.

use super::Optimizer;
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
        // The places of weight decay, momentum, decay rates and epsilon, of what it has.
        let (decay, momentum, betas, epsilon) = match self {
            Self::Sgd(sgd) => (&mut sgd.weight_decay, Some(&mut sgd.momentum), None, None),
            Self::Adam(adam) => (
                &mut adam.weight_decay,
                None,
                Some(&mut adam.betas),
                Some(&mut adam.epsilon),
            ),
            Self::RmsProp(rms) => (
                &mut rms.weight_decay,
                Some(&mut rms.momentum),
                None,
                Some(&mut rms.epsilon),
            ),
            Self::Adagrad(own) => (&mut own.weight_decay, None, None, Some(&mut own.epsilon)),
            Self::Adadelta(own) => (&mut own.weight_decay, None, None, Some(&mut own.epsilon)),
            Self::NAdam(own) => (
                &mut own.weight_decay,
                None,
                Some(&mut own.betas),
                Some(&mut own.epsilon),
            ),
            Self::Lion(own) => (&mut own.weight_decay, None, Some(&mut own.betas), None),
        };
        let place = match hyper {
            Hyper::WeightDecay(value) => Some((decay, value)),
            Hyper::Momentum(value) => momentum.map(|place| (place, value)),
            Hyper::Epsilon(value) => epsilon.map(|place| (place, value)),
            Hyper::Betas(values) => {
                if let Some(place) = betas {
                    *place = values;
                    return Ok(());
                }
                None
            }
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
