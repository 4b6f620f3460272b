//! Channels laid out as pixels, and pixels as channels.

use super::window::LARGEST_EXTENT;
use super::{Definition, ParameterSpec, Size2, countable, only};
use crate::{Error, Result, Shape};

/// Channels laid out as pixels: `(N, C * r * r, H, W)` to `(N, C, H * r, W * r)`, where channel
/// `c * r * r + i * r + j` goes to row `i` and column `j` of each block of `r` by `r` pixels of channel `c`:
/// the sub-pixel layer of Shi et al. 2016.
///
/// ```
/// use wgpu_cnn::{Conv2d, Model};
/// let model = Model::builder([1, 5, 5]).conv2d(9, 3).pixel_shuffle(3).build()?;
/// assert_eq!(model.output_shape().to_string(), "[1, 9, 9]");
/// # Ok::<(), wgpu_cnn::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PixelShuffle {
    /// How many times as high and as wide the planes become.
    pub factor: usize,
}

/// Pixels laid out as channels, the reverse of [`PixelShuffle`]: `(N, C, H * r, W * r)` to
/// `(N, C * r * r, H, W)`.
///
/// ```
/// use wgpu_cnn::Model;
/// let model = Model::builder([3, 8, 6]).pixel_unshuffle(2).build()?;
/// assert_eq!(model.output_shape().to_string(), "[12, 4, 3]");
/// # Ok::<(), wgpu_cnn::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PixelUnshuffle {
    /// How many times lower and narrower the planes become.
    pub factor: usize,
}

impl PixelShuffle {
    /// Planes so many times as high and as wide.
    pub fn new(factor: usize) -> Self {
        Self { factor }
    }

    /// The resolved extents for `batch` images of shape `input`.
    pub fn geometry(&self, batch: usize, input: &Shape) -> Result<PixelShuffleGeometry> {
        const NAME: &str = "pixel_shuffle";
        let [channels, height, width] = extents(NAME, input)?;
        let factor = self.factor;
        let block = block(NAME, factor)?;
        if channels == 0 || channels % block != 0 {
            let expected = format!("channels that are a multiple of {factor} * {factor}");
            return Err(Error::shape(NAME, expected, input));
        }
        let planes = batch.saturating_mul(channels / block);
        geometry(NAME, planes, [height, width], factor)
    }
}

impl PixelUnshuffle {
    /// Planes so many times lower and narrower.
    pub fn new(factor: usize) -> Self {
        Self { factor }
    }

    /// The resolved extents for `batch` images of shape `input`: those of the [`PixelShuffle`] that it
    /// reverses.
    pub fn geometry(&self, batch: usize, input: &Shape) -> Result<PixelShuffleGeometry> {
        const NAME: &str = "pixel_unshuffle";
        let [channels, height, width] = extents(NAME, input)?;
        let factor = self.factor;
        block(NAME, factor)?;
        if height % factor != 0 || width % factor != 0 {
            let expected = format!("a height and a width that are multiples of {factor}");
            return Err(Error::shape(NAME, expected, input));
        }
        let size = [height / factor, width / factor];
        geometry(NAME, batch.saturating_mul(channels), size, factor)
    }
}

/// `[C, H, W]`.
fn extents(name: &str, input: &Shape) -> Result<[usize; 3]> {
    match input[..] {
        [channels, height, width] if channels.min(height).min(width) > 0 => {
            Ok([channels, height, width])
        }
        _ => Err(Error::shape(name, "an image [C, H, W]", input)),
    }
}

/// Pixels of a block.
fn block(name: &str, factor: usize) -> Result<usize> {
    let within = (1..=LARGEST_EXTENT).contains(&factor);
    match factor.checked_mul(factor).filter(|_| within) {
        Some(block) => Ok(block),
        None => {
            let reason = format!("{factor} is not within 1..={LARGEST_EXTENT}");
            Err(Error::argument(format!("{name} factor"), reason))
        }
    }
}

fn geometry(
    name: &str,
    planes: usize,
    [height, width]: [usize; 2],
    factor: usize,
) -> Result<PixelShuffleGeometry> {
    let geometry = PixelShuffleGeometry {
        planes,
        size: Size2 { height, width },
        factor,
    };
    geometry.check(name)?;
    Ok(geometry)
}

impl Definition for PixelShuffle {
    fn name(&self) -> &'static str {
        "pixel_shuffle"
    }

    fn output_shape(&self, inputs: &[&Shape]) -> Result<Shape> {
        let geometry = self.geometry(1, only("pixel_shuffle", inputs)?)?;
        let Size2 { height, width } = geometry.large_size();
        Ok([geometry.planes, height, width].into())
    }

    fn parameters(&self, _: &[&Shape]) -> Result<Vec<ParameterSpec>> {
        Ok(Vec::new())
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

impl Definition for PixelUnshuffle {
    fn name(&self) -> &'static str {
        "pixel_unshuffle"
    }

    fn output_shape(&self, inputs: &[&Shape]) -> Result<Shape> {
        let geometry = self.geometry(1, only("pixel_unshuffle", inputs)?)?;
        let Size2 { height, width } = geometry.size;
        let block = geometry.factor * geometry.factor;
        Ok([geometry.planes * block, height, width].into())
    }

    fn parameters(&self, _: &[&Shape]) -> Result<Vec<ParameterSpec>> {
        Ok(Vec::new())
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

/// Every extent of a pixel shuffle, resolved: between `(planes * factor^2, H, W)` and
/// `(planes, H * factor, W * factor)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PixelShuffleGeometry {
    /// Images times channels of the side with fewer and larger planes.
    pub planes: usize,
    /// Extents of a plane of the side with more and smaller ones.
    pub size: Size2,
    /// Rows and columns of a block of pixels.
    pub factor: usize,
}

impl PixelShuffleGeometry {
    /// Elements of either side, saturating where the product outgrows `usize`.
    pub fn input_len(&self) -> usize {
        let large = self.large_size();
        self.planes.saturating_mul(large.area())
    }

    /// Extents of the larger planes, saturating likewise.
    pub fn large_size(&self) -> Size2 {
        let times = |extent: usize| extent.saturating_mul(self.factor);
        Size2 {
            height: times(self.size.height),
            width: times(self.size.width),
        }
    }

    /// Refuses what is no shuffle, of a geometry that a program wrote itself.
    pub(crate) fn check(&self, name: &str) -> Result<()> {
        block(name, self.factor)?;
        let Size2 { height, width } = self.large_size();
        if height.min(width) == 0 || height.max(width) > LARGEST_EXTENT {
            let reason = format!("{height}x{width} is not within 1x1..={LARGEST_EXTENT}");
            return Err(Error::argument(format!("{name} size"), reason));
        }
        countable(name, &[self.planes, height, width])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn factors_that_do_not_divide_are_refused() {
        let said = |factor: usize, shape: Shape| {
            let shuffled = PixelShuffle::new(factor).output_shape(&[&shape]);
            let unshuffled = PixelUnshuffle::new(factor).output_shape(&[&shape]);
            [shuffled, unshuffled].map(|result| result.map_err(|error| error.to_string()))
        };
        let [shuffled, unshuffled] = said(2, [8, 4, 6].into());
        assert_eq!(shuffled, Ok([2, 8, 12].into()));
        assert_eq!(unshuffled, Ok([32, 2, 3].into()));
        let [shuffled, unshuffled] = said(3, [8, 4, 6].into());
        assert!(shuffled.unwrap_err().contains("multiple of 3 * 3"));
        assert!(unshuffled.unwrap_err().contains("multiples of 3"));
        for factor in [0, usize::MAX, LARGEST_EXTENT + 1] {
            let [shuffled, unshuffled] = said(factor, [8, 4, 6].into());
            assert!(shuffled.unwrap_err().starts_with("pixel_shuffle factor"));
            assert!(
                unshuffled
                    .unwrap_err()
                    .starts_with("pixel_unshuffle factor")
            );
        }
        for result in said(1, [4, 9].into()) {
            assert!(result.unwrap_err().contains("an image [C, H, W]"));
        }
        let large: Shape = [4, LARGEST_EXTENT, 1].into();
        assert!(PixelShuffle::new(2).geometry(1, &large).is_err());
    }
}
