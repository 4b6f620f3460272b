//! Local response normalisation.

use super::{Definition, ParameterSpec, check_small, countable, only};
use crate::shape::elements;
use crate::{Error, Result, Shape};

const NAME: &str = "local_response_norm";

/// Channels that a window has fewer of.
const WIDEST: usize = 1 << 24;

/// Local response normalisation (Krizhevsky et al. 2012) of `(N, C, ...)`, as AlexNet and GoogLeNet have it:
/// `y = x / (k + alpha / size * s)^beta`, where `s` is the sum of the squares of the `size` channels
/// `c - size / 2 ..= c + (size - 1) / 2` of the same position. Channels that there are not count as 0.
///
/// ```
/// use wgpu_cnn::{LocalResponseNorm, Model};
/// let norm = LocalResponseNorm::new(5).alpha(1e-4).beta(0.75).k(2.0);
/// let model = Model::builder([96, 14, 14]).push(norm).build()?;
/// assert_eq!(model.parameter_count(), 0);
/// # Ok::<(), wgpu_cnn::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LocalResponseNorm {
    /// Channels of a window.
    pub size: usize,
    /// The factor of the mean of the squares. Default 1e-4.
    pub alpha: f64,
    /// The exponent. Default 0.75.
    pub beta: f64,
    /// What is added to them. Default 1.
    pub k: f64,
}

impl LocalResponseNorm {
    /// Normalisation over windows of `size` channels with PyTorch's defaults.
    pub fn new(size: usize) -> Self {
        Self {
            size,
            alpha: 1e-4,
            beta: 0.75,
            k: 1.0,
        }
    }

    /// Sets the factor of the mean of the squares.
    pub fn alpha(mut self, alpha: f64) -> Self {
        self.alpha = alpha;
        self
    }

    /// Sets the exponent.
    pub fn beta(mut self, beta: f64) -> Self {
        self.beta = beta;
        self
    }

    /// Sets what is added to the squares.
    pub fn k(mut self, k: f64) -> Self {
        self.k = k;
        self
    }

    /// The channels of a window before and after its own.
    pub(crate) fn reach(&self) -> [usize; 2] {
        [self.size / 2, self.size.saturating_sub(1) / 2]
    }

    /// What the sum of the squares is multiplied by.
    pub(crate) fn factor(&self) -> f64 {
        self.alpha / self.size as f64
    }

    /// Refuses numbers that no kernel can compute with.
    pub(crate) fn check(&self) -> Result<()> {
        if !(1..WIDEST).contains(&self.size) {
            let reason = format!("{} is not within 1..{WIDEST}", self.size);
            return Err(Error::argument("local_response_norm size", reason));
        }
        check_small("local_response_norm alpha", self.alpha)?;
        check_small("local_response_norm beta", self.beta)?;
        check_small("local_response_norm k", self.k)
    }

    /// `[N, C, plane]` for `batch` examples of shape `input`, `[C, ...]`.
    pub fn extents(&self, batch: usize, input: &Shape) -> Result<[usize; 3]> {
        self.check()?;
        countable(NAME, &input.batched(batch))?;
        match input[..] {
            [channels, ref plane @ ..] if !input.is_empty() => {
                Ok([batch, channels, elements(plane)])
            }
            _ => Err(Error::shape(NAME, "channels [C, ...]", input)),
        }
    }
}

impl Definition for LocalResponseNorm {
    fn name(&self) -> &'static str {
        NAME
    }

    fn output_shape(&self, inputs: &[&Shape]) -> Result<Shape> {
        let input = only(NAME, inputs)?;
        self.extents(1, input)?;
        Ok(input.clone())
    }

    fn parameters(&self, _: &[&Shape]) -> Result<Vec<ParameterSpec>> {
        Ok(vec![])
    }

    fn is_view(&self) -> bool {
        false
    }

    fn is_identity_in_evaluation(&self) -> bool {
        false
    }

    fn check_training(&self, _: usize, _: &[&Shape]) -> Result<()> {
        Ok(())
    }

    fn reads_half(&self, _: usize) -> bool {
        false
    }

    fn multiply_adds(&self, _: &[&Shape]) -> Result<u64> {
        Ok(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_nothing_can_be_normalised_with_are_refused() {
        let (image, norm): (Shape, _) = ([3, 4, 4].into(), LocalResponseNorm::new(5));
        assert_eq!(norm.extents(2, &image).unwrap(), [2, 3, 16]);
        assert_eq!(
            (norm.reach(), LocalResponseNorm::new(4).reach()),
            ([2, 2], [2, 1])
        );
        for size in [0, 1 << 24, usize::MAX] {
            assert!(LocalResponseNorm::new(size).extents(2, &image).is_err());
        }
        for number in [f64::NAN, f64::INFINITY, -1.0, 1e300, 1e-320] {
            for norm in [norm.alpha(number), norm.beta(number), norm.k(number)] {
                assert!(norm.extents(2, &image).is_err(), "{norm:?}");
            }
        }
        assert!(norm.extents(usize::MAX, &image).is_err());
        assert!(norm.extents(1, &[].into()).is_err());
        assert!(norm.extents(1, &[0, 4].into()).is_err());
    }
}
