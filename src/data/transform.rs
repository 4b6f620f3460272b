//! What happens to an example between a file and a batch.

use std::fmt;
use std::sync::Arc;

use super::array::{Array, Values};
use super::geometry::Geometry;
use super::random::Random;
use crate::op::{check_normalise, normalised};
use crate::{Error, Result};

/// Mean and standard deviation of each channel of ImageNet's training images, in RGB, for
/// [`Transforms::normalise`]: what torchvision's pretrained weights expect.
pub const IMAGENET: [[f32; 3]; 2] = [[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]];

/// What happens to each example's input, in the order in which it is written down, with torchvision's
/// meanings, rounding and distributions. In the end numbers are floats, `(C, H, W)`: bytes that have not been
/// [normalised](Self::normalise) are divided by 255.
///
/// ```
/// use wgpu_cnn::data::{Array, IMAGENET, Random, Transforms};
/// let training = Transforms::new()
///     .random_resized_crop(224)
///     .flip(0.5)
///     .normalise(IMAGENET)
///     .random_erasing(0.25);
/// let evaluation = Transforms::new().resize(256).centre_crop(224).normalise(IMAGENET);
/// let photo = Array::new([3, 300, 400], vec![128u8; 3 * 300 * 400])?;
/// let input = evaluation.apply(photo, &mut Random::new(7, 0, 0))?;
/// assert_eq!(input.shape()[..], [3, 224, 224]);
/// # let _ = training;
/// # Ok::<(), wgpu_cnn::Error>(())
/// ```
///
/// All but `normalise` and [`map`](Self::map) want an image, `(C, H, W)`. Targets stay as they are.
#[derive(Clone, Default, Debug)]
pub struct Transforms(Vec<Step>);

type Function = dyn Fn(Array, &mut Random) -> Result<Array> + Send + Sync;

/// [`Geometry::apply`]: it is named where such a step is made, so that a program that makes none has it not.
type OfImage = fn(&Geometry, Array, &mut Random) -> Result<Array>;

#[derive(Clone)]
enum Step {
    Image(Geometry, OfImage),
    Normalise { mean: Vec<f32>, deviation: Vec<f32> },
    Map(Arc<Function>),
}

impl fmt::Debug for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Image(step, _) => step.fmt(f),
            Self::Normalise { mean, deviation } => {
                write!(f, "Normalise([{mean:?}, {deviation:?}])")
            }
            Self::Map(_) => f.write_str("Map"),
        }
    }
}

/// Height and width of an image: one number for both, or two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImageSize(pub(super) [usize; 2]);

impl From<usize> for ImageSize {
    fn from(size: usize) -> Self {
        Self([size; 2])
    }
}

impl From<[usize; 2]> for ImageSize {
    fn from(size: [usize; 2]) -> Self {
        Self(size)
    }
}

impl Transforms {
    /// Nothing so far.
    pub fn new() -> Self {
        Self::default()
    }

    fn with(mut self, step: Step) -> Self {
        self.0.push(step);
        self
    }

    fn image(self, step: Geometry) -> Self {
        self.with(Step::Image(step, Geometry::apply))
    }

    /// Makes the shorter side this long, and the other in proportion, rounded down: torchvision's
    /// `Resize(side)`. The filter is bilinear with antialiasing; of bytes it gives the very bits that Pillow
    /// gives.
    pub fn resize(self, side: usize) -> Self {
        self.image(Geometry::Resize(side))
    }

    /// Makes the image of this height and width, whatever its proportions: torchvision's `Resize((h, w))`.
    pub fn resize_to(self, size: [usize; 2]) -> Self {
        self.image(Geometry::ResizeTo(size))
    }

    /// The middle of the image; a smaller one gets a margin of zeros.
    pub fn centre_crop(self, size: impl Into<ImageSize>) -> Self {
        self.image(Geometry::CentreCrop(size.into().0))
    }

    /// A random part of the image with a margin of so many zeros on each side: torchvision's
    /// `RandomCrop(size, padding)`.
    pub fn random_crop(self, size: impl Into<ImageSize>, padding: usize) -> Self {
        let size = size.into().0;
        self.image(Geometry::RandomCrop { size, padding })
    }

    /// A random part of the image of 8 to 100 % of its area and with a width of 3/4 to 4/3 of its height, resized
    /// (Szegedy et al. 2015): torchvision's `RandomResizedCrop(size)`.
    pub fn random_resized_crop(self, size: impl Into<ImageSize>) -> Self {
        self.random_resized_crop_within(size, [0.08, 1.0], [3.0 / 4.0, 4.0 / 3.0])
    }

    /// The same with other bounds of the share of the area, and of the width divided by the height.
    pub fn random_resized_crop_within(
        self,
        size: impl Into<ImageSize>,
        area: [f64; 2],
        ratio: [f64; 2],
    ) -> Self {
        let size = size.into().0;
        self.image(Geometry::RandomResizedCrop { size, area, ratio })
    }

    /// Left and right changed with this probability: `RandomHorizontalFlip`.
    pub fn flip(self, probability: f64) -> Self {
        self.image(Geometry::Flip(probability))
    }

    /// Top and bottom changed with this probability: `RandomVerticalFlip`.
    pub fn flip_rows(self, probability: f64) -> Self {
        self.image(Geometry::FlipRows(probability))
    }

    /// `(x - mean) / deviation` for each channel, the first axis; bytes are divided by 255 before. Two lists,
    /// means and deviations, of a number for each channel or of one for all: `normalise([[0.5], [0.25]])`,
    /// `normalise(IMAGENET)`.
    pub fn normalise<const N: usize>(self, [mean, deviation]: [[f32; N]; 2]) -> Self {
        self.with(Step::Normalise {
            mean: mean.into(),
            deviation: deviation.into(),
        })
    }

    /// With this probability, zeros in a random rectangle of 2 to 33 % of the area, with a height of 0.3 to 3.3
    /// times its width (Zhong et al. 2017): torchvision's `RandomErasing`. After [`normalise`](Self::normalise) a
    /// zero is the mean.
    pub fn random_erasing(self, probability: f64) -> Self {
        self.image(Geometry::RandomErasing(probability))
    }

    /// A step of one's own. Whatever is random in it should come from the [`Random`] that it is given.
    pub fn map(
        self,
        function: impl Fn(Array, &mut Random) -> Result<Array> + Send + Sync + 'static,
    ) -> Self {
        self.with(Step::Map(Arc::new(function)))
    }

    /// Refuses numbers outside their domain.
    ///
    /// # Errors
    /// [`Error::Argument`], which names the step. A [`Loader`](super::Loader) asks this when it is built.
    pub fn check(&self) -> Result<()> {
        self.0.iter().try_for_each(Step::check)
    }

    /// The input that comes of one; what is random in it is taken from `random`.
    ///
    /// # Errors
    /// [`Error::Argument`] as of [`check`](Self::check); [`Error::Shape`] for what is no image where one is wanted,
    /// and for an image that is smaller than a random crop.
    pub fn apply(&self, input: Array, random: &mut Random) -> Result<Array> {
        let output = self.steps(input, random)?;
        let shape = output.shape().clone();
        Array::new(shape, output.into_floats())
    }

    /// What the steps make of an input: bytes may still be bytes.
    pub(super) fn steps(&self, input: Array, random: &mut Random) -> Result<Array> {
        self.check()?;
        let mut steps = self.0.iter();
        steps.try_fold(input, |input, step| step.apply(input, random))
    }
}

impl Step {
    fn check(&self) -> Result<()> {
        match self {
            Self::Image(step, _) => step.check(),
            Self::Normalise { mean, deviation } => check_normalise("normalise", mean, deviation),
            Self::Map(_) => Ok(()),
        }
    }

    fn apply(&self, input: Array, random: &mut Random) -> Result<Array> {
        match self {
            Self::Image(step, apply) => apply(step, input, random),
            Self::Normalise { mean, deviation } => normalise(input, mean, deviation),
            Self::Map(function) => function(input, random),
        }
    }
}

/// The arithmetic of PyTorch, in `f32`: division by 255, difference, quotient. A byte's is looked up.
fn normalise(input: Array, mean: &[f32], deviation: &[f32]) -> Result<Array> {
    let (shape, values) = input.into_parts();
    let channels = shape.first().copied().unwrap_or(0);
    let count = mean.len();
    if channels == 0 || shape.is_empty() || (count != 1 && count != channels) {
        let expected = format!("as many channels as there are means, {count}");
        return Err(Error::shape("normalise", expected, shape));
    }
    let plane = shape.len() / channels;
    let numbers = |at: usize| (mean[at % count], deviation[at % count]);
    let floats = match values {
        Values::Bytes(bytes) => {
            let mut floats = Vec::with_capacity(bytes.len());
            for (at, plane) in bytes.chunks_exact(plane).enumerate() {
                let table = normalised(numbers(at).into());
                floats.extend(plane.iter().map(|&byte| table[usize::from(byte)]));
            }
            floats
        }
        Values::Integers(_) | Values::Floats(_) => {
            let mut floats = Array::new(shape.clone(), values)?.into_floats();
            for (at, plane) in floats.chunks_exact_mut(plane).enumerate() {
                let (mean, deviation) = numbers(at);
                plane
                    .iter_mut()
                    .for_each(|value| *value = (*value - mean) / deviation);
            }
            floats
        }
    };
    Array::new(shape, floats)
}
