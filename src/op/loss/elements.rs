//! Binary cross-entropy, and how its weights lie along the outputs.

use super::classes::check_factors;
use super::{Loss, Reduction};
use crate::{Error, Result, Shape};

/// Values, and their shape.
type Weights = (Shape, Vec<f32>);

/// Binary cross-entropy with logits, per element:
/// `weight * (positive * target * softplus(-output) + (1 - target) * softplus(output))`, which is the
/// cross-entropy of `sigmoid(output)` with the probability `target`.
///
/// Both factors are broadcast against the shape of one example from the right, as in PyTorch: of
/// outputs `[C, H, W]`, `[C, 1, 1]` is a factor for each channel, `[W]` one for each column, and `[1]`
/// one for all. The axes along which one varies must be neighbours. The mean divides by the number of
/// elements, whatever the weights.
///
/// ```
/// use wgpu_cnn::Loss;
/// // Positive pixels of the second class are rare.
/// let loss = Loss::binary_cross_entropy().positive_weights([2, 1, 1], [1.0, 20.0]);
/// # let _: Loss = loss.into();
/// ```
#[derive(Debug, Clone, PartialEq, Default)]
pub struct BinaryCrossEntropy {
    /// How the losses of a batch become one number. Default the mean.
    pub reduction: Reduction,
    /// The factor of what is lost at positive targets, PyTorch's `pos_weight`, and its shape. Default 1.
    pub positive_weights: Option<(Shape, Vec<f32>)>,
    /// The factor of each element's loss, and its shape. Default 1.
    pub weights: Option<(Shape, Vec<f32>)>,
}

impl BinaryCrossEntropy {
    /// Sets how the losses of a batch become one number.
    pub fn reduction(mut self, reduction: Reduction) -> Self {
        self.reduction = reduction;
        self
    }

    /// Sets the factor of what is lost at positive targets.
    pub fn positive_weights(
        mut self,
        shape: impl Into<Shape>,
        weights: impl Into<Vec<f32>>,
    ) -> Self {
        self.positive_weights = Some((shape.into(), weights.into()));
        self
    }

    /// Sets the factor of each element's loss.
    pub fn weights(mut self, shape: impl Into<Shape>, weights: impl Into<Vec<f32>>) -> Self {
        self.weights = Some((shape.into(), weights.into()));
        self
    }
}

impl From<BinaryCrossEntropy> for Loss {
    fn from(loss: BinaryCrossEntropy) -> Self {
        Self::BinaryCrossEntropy(loss)
    }
}

/// How a small tensor lies along the elements of an example: element `e` has its value
/// `e / inner % extent`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Broadcast {
    /// Values.
    pub extent: usize,
    /// Neighbouring elements that share a value.
    pub inner: usize,
}

impl Broadcast {
    /// One value for all elements.
    pub const ONE: Self = Self {
        extent: 1,
        inner: 1,
    };

    /// How a tensor of shape `from` lies along one of shape `to`, broadcast from the right.
    fn of(what: &str, from: &Shape, to: &Shape) -> Result<Self> {
        let refused = || {
            let expected = format!("a shape that broadcasts along neighbouring axes of {to}");
            Error::shape(what, expected, from)
        };
        let leading = from.rank().saturating_sub(to.rank());
        if from[..leading].iter().any(|&extent| extent != 1) {
            return Err(refused());
        }
        let from = &from[leading..];
        let own = &to[to.rank() - from.len()..];
        let varies: Vec<usize> = (0..from.len()).filter(|&axis| from[axis] != 1).collect();
        let (Some(&first), Some(&last)) = (varies.first(), varies.last()) else {
            return Ok(Self::ONE);
        };
        // An axis between them, of extent 1 in both, is no gap.
        if from[first..=last] != own[first..=last] {
            return Err(refused());
        }
        Ok(Self {
            extent: crate::shape::elements(&from[first..=last]),
            inner: crate::shape::elements(&own[last + 1..]).max(1),
        })
    }

    /// The value of an element.
    pub(crate) fn value(&self, values: &[f32], element: usize) -> f32 {
        values[element / self.inner % self.extent]
    }
}

impl BinaryCrossEntropy {
    /// Its factors by what errors call them.
    fn factors(&self) -> [(&'static str, Option<&Weights>); 2] {
        [
            ("positive weights", self.positive_weights.as_ref()),
            ("weights", self.weights.as_ref()),
        ]
    }

    pub(super) fn broadcasts(&self, output: &Shape) -> Result<[Broadcast; 2]> {
        let mut broadcasts = [Broadcast::ONE; 2];
        for (broadcast, (what, factors)) in broadcasts.iter_mut().zip(self.factors()) {
            if let Some((shape, values)) = factors {
                if shape.len() != values.len() {
                    return Err(Error::length(what, shape, values.len()));
                }
                *broadcast = Broadcast::of(what, shape, output)?;
            }
        }
        Ok(broadcasts)
    }

    pub(super) fn check(&self, broadcasts: &[Broadcast; 2]) -> Result<()> {
        for (broadcast, (what, factors)) in broadcasts.iter().zip(self.factors()) {
            if let Some((_, values)) = factors {
                if broadcast.extent != values.len() || values.is_empty() || broadcast.inner == 0 {
                    let expected = format!("{} values", broadcast.extent.max(1));
                    return Err(Error::shape(what, expected, values.len()));
                }
                check_factors(what, values)?;
            }
        }
        Ok(())
    }

    /// The factors of positive targets and then those of elements, 1 where there are none; `None` where
    /// there are neither.
    pub(super) fn weights_in_memory(&self) -> Option<Vec<f32>> {
        if self.positive_weights.is_none() && self.weights.is_none() {
            return None;
        }
        let factors = self.factors().into_iter();
        let factors = factors.map(|(_, factors)| factors.map_or(&[1.0][..], |(_, values)| values));
        Some(factors.flatten().copied().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_broadcast_from_the_right() {
        let of = |from: &[usize], to: &[usize]| {
            let broadcast = Broadcast::of("weights", &from.into(), &to.into());
            broadcast
                .ok()
                .map(|Broadcast { extent, inner }| [extent, inner])
        };
        assert_eq!(of(&[3], &[3]), Some([3, 1]));
        assert_eq!(of(&[5], &[3, 4, 5]), Some([5, 1]));
        assert_eq!(of(&[3, 1, 1], &[3, 4, 5]), Some([3, 20]));
        assert_eq!(of(&[4, 1], &[3, 4, 5]), Some([4, 5]));
        assert_eq!(of(&[4, 5], &[3, 4, 5]), Some([20, 1]));
        assert_eq!(of(&[3, 4, 1], &[3, 4, 5]), Some([12, 5]));
        assert_eq!(of(&[3, 4, 5], &[3, 4, 5]), Some([60, 1]));
        assert_eq!(of(&[1], &[3, 4, 5]), Some([1, 1]));
        assert_eq!(of(&[], &[3, 4, 5]), Some([1, 1]));
        assert_eq!(of(&[1, 3], &[3]), Some([3, 1]));
        assert_eq!(of(&[1, 1], &[]), Some([1, 1]));
        assert_eq!(of(&[3, 1, 5], &[3, 1, 5]), Some([15, 1]));
        assert_eq!(of(&[3, 1, 5], &[3, 4, 5]), None);
        assert_eq!(of(&[3], &[3, 4, 5]), None);
        assert_eq!(of(&[2, 3], &[3]), None);
        assert_eq!(of(&[0], &[3]), None);
    }
}
