//! NAdam.

use super::{Optimizer, check_decay};
use crate::Result;
use crate::op::{check_small, within};

/// NAdam (Dozat 2016), Adam with Nesterov's momentum: `m = b1*m + (1-b1)*g; v = b2*v + (1-b2)*g^2;
/// w -= lr * ((1 - mu_t) / (1 - p_t) * g + mu_(t+1) / (1 - p_(t+1)) * m) / (sqrt(v^) + eps)`, where
/// `mu_t = b1 * (1 - 0.96^(t * momentum_decay) / 2)`, `p_t` is the product of `mu_1` to `mu_t`, and `v^`
/// is corrected for its start at zero.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NAdam {
    /// The learning rate.
    pub learning_rate: f64,
    /// Decay rates of the two moments. Default `[0.9, 0.999]`.
    pub betas: [f64; 2],
    /// Keeps the division finite. Default 1e-8.
    pub epsilon: f64,
    /// The weight decay. Default 0.
    pub weight_decay: f64,
    /// How fast `mu` comes to `b1`. Default 4e-3.
    pub momentum_decay: f64,
    /// Whether the weights decay by themselves, `w -= lr * weight_decay * w`, rather than through the
    /// gradient. Default false.
    pub decoupled: bool,
}

setters! {
    NAdam {
        /// Sets the decay rates of the moments.
        betas: [f64; 2],
        /// Sets the term that keeps the division finite.
        epsilon: f64,
        /// Sets the weight decay.
        weight_decay: f64,
        /// Sets how fast the share of the moment comes to its decay rate.
        momentum_decay: f64,
        /// Sets whether the weights decay by themselves, rather than through the gradient.
        decoupled: bool,
    }
}

/// What an update takes of the gradient and of its mean.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Shares {
    /// `lr * (1 - mu_t) / (1 - p_t)`.
    pub gradient: f64,
    /// `lr * mu_(t+1) / (1 - p_(t+1))`.
    pub moment: f64,
    /// `sqrt(1 - b2^t)`.
    pub root_correction: f64,
}

impl NAdam {
    /// What an update, counted from 1, takes of the gradient and of its mean. It follows from the count
    /// alone, so that nothing is kept for it.
    pub(crate) fn shares(&self, step: u64) -> Shares {
        let (mu, next) = (self.mu(step), self.mu(step.saturating_add(1)));
        let product = self.product(step);
        Shares {
            gradient: self.learning_rate * (1.0 - mu) / (1.0 - product),
            moment: self.learning_rate * next / (1.0 - product * next),
            root_correction: (1.0 - self.betas[1].powf(step as f64)).sqrt(),
        }
    }

    /// `0.96^(step * momentum_decay)`.
    fn warming(&self, step: u64) -> f64 {
        0.96f64.powf(step as f64 * self.momentum_decay)
    }

    fn mu(&self, step: u64) -> f64 {
        self.betas[0] * (1.0 - 0.5 * self.warming(step))
    }

    /// The product of `mu_1` to `mu_step`, factor by factor as PyTorch has it. Ends early: once 1 less the
    /// product is 1, and once all factors are `b1`, one of which comes within 3,000 factors.
    fn product(&self, step: u64) -> f64 {
        let mut product = 1.0;
        for at in 1..=step {
            let mu = self.mu(at);
            if mu == self.betas[0] {
                return product * mu.powf((step - at + 1) as f64);
            }
            product *= mu;
            if 1.0 - product == 1.0 {
                break;
            }
        }
        product
    }

    pub(super) fn check(&self) -> Result<()> {
        within("beta 1", self.betas[0], 0.0..1.0)?;
        within("beta 2", self.betas[1], 0.0..1.0)?;
        check_small("epsilon", self.epsilon)?;
        within("momentum decay", self.momentum_decay, 0.0..f64::INFINITY)?;
        check_decay(self.learning_rate, self.weight_decay, self.decoupled)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_that_end_early_are_those_of_all_factors() {
        for (beta, decay) in [
            (0.9, 4e-3),
            (0.999, 0.3),
            (0.9999, 10.0),
            (0.0, 1.0),
            (0.5, 0.0),
        ] {
            let nadam = Optimizer::nadam(0.1)
                .betas([beta, 0.9])
                .momentum_decay(decay);
            let mut product = 1.0;
            for step in 1..2000 {
                product *= nadam.mu(step);
                let (all, early) = (1.0 - product, 1.0 - nadam.product(step));
                assert!(
                    (all - early).abs() <= 1e-13 * all,
                    "{beta}, {decay}, {step}"
                );
            }
        }
    }

    #[test]
    fn no_product_takes_long() {
        for decay in [0.0, 1e-300, 1e-8, 1e-3, 0.1, 0.3, 0.35, 1.0, 3e38] {
            for beta in [0.0, 0.9, 1.0 - f64::EPSILON / 2.0] {
                let nadam = Optimizer::nadam(0.1)
                    .momentum_decay(decay)
                    .betas([beta, 0.9]);
                for step in [u64::MAX - 1, u64::MAX] {
                    let shares = nadam.shares(step);
                    assert!(shares.gradient.is_finite() && shares.moment.is_finite());
                }
            }
        }
    }
}
