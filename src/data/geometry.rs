//! Which pixels of an image are taken, and where they go.

use super::array::{Array, MOST, Values};
use super::random::Random;
use super::resize::{Pixel, resize};
use crate::shape::elements;
use crate::{Error, Result};

/// A step of the transforms that wants an image.
#[derive(Debug, Clone, Copy)]
pub(super) enum Geometry {
    Resize(usize),
    ResizeTo([usize; 2]),
    CentreCrop([usize; 2]),
    RandomCrop {
        size: [usize; 2],
        padding: usize,
    },
    RandomResizedCrop {
        size: [usize; 2],
        area: [f64; 2],
        ratio: [f64; 2],
    },
    Flip(f64),
    FlipRows(f64),
    RandomErasing(f64),
}

/// Pixels of an image at most, so that its channels stay below [`MOST`].
const PIXELS: usize = MOST / 4;

impl Geometry {
    fn name(&self) -> &'static str {
        match self {
            Self::Resize(_) | Self::ResizeTo(_) => "resize",
            Self::CentreCrop(_) => "centre_crop",
            Self::RandomCrop { .. } => "random_crop",
            Self::RandomResizedCrop { .. } => "random_resized_crop",
            Self::Flip(_) => "flip",
            Self::FlipRows(_) => "flip_rows",
            Self::RandomErasing(_) => "random_erasing",
        }
    }

    pub fn check(&self) -> Result<()> {
        let refuse = |reason: String| Err(Error::argument(self.name(), reason));
        let extents = |size: [usize; 2]| match elements(&size) {
            0 => refuse("a size of 0".into()),
            pixels if pixels > PIXELS => {
                refuse(format!("a size of {size:?}, of {PIXELS} pixels at most"))
            }
            _ => Ok(()),
        };
        match *self {
            Self::Resize(side) => extents([side; 2]),
            Self::ResizeTo(size) | Self::CentreCrop(size) => extents(size),
            Self::RandomCrop { padding, .. } if padding > PIXELS => {
                refuse(format!("a padding of {padding}, of {PIXELS} at most"))
            }
            Self::RandomCrop { size, .. } => extents(size),
            Self::RandomResizedCrop { size, area, ratio } => {
                let ([small, large], [narrow, wide]) = (area, ratio);
                if !(0.0 < small && small <= large && large <= 1.0) {
                    return refuse(format!(
                        "shares of the area of {area:?}, not rising within 0..=1"
                    ));
                }
                if !(0.0 < narrow && narrow <= wide && wide.is_finite()) {
                    return refuse(format!("proportions of {ratio:?}, not rising and positive"));
                }
                extents(size)
            }
            Self::Flip(probability)
            | Self::FlipRows(probability)
            | Self::RandomErasing(probability) => match (0.0..=1.0).contains(&probability) {
                true => Ok(()),
                false => refuse(format!("the probability {probability} is not within 0..=1")),
            },
        }
    }

    pub fn apply(&self, input: Array, random: &mut Random) -> Result<Array> {
        let (shape, values) = input.into_parts();
        let shape = match shape[..] {
            [channels, height, width] if !shape.is_empty() => [channels, height, width],
            _ => return Err(Error::shape(self.name(), "an image [C, H, W]", shape)),
        };
        let image = Image { shape, values };
        let [_, height, width] = shape;
        let image = match *self {
            Self::Resize(side) => {
                image.resized(proportional([height, width], side), self.name())?
            }
            Self::ResizeTo(size) => image.resized(size, self.name())?,
            Self::CentreCrop(size) => image.cropped(
                [centred(height, size[0]), centred(width, size[1])],
                size,
                self.name(),
            )?,
            Self::RandomCrop { size, padding } => {
                let begin = corner([height, width], size, padding, random);
                let begin = begin.ok_or_else(|| {
                    let expected = format!("an image of {size:?} at least, with its margin");
                    Error::shape(self.name(), expected, format!("[{height}, {width}]"))
                })?;
                image.cropped(begin, size, self.name())?
            }
            Self::RandomResizedCrop { size, area, ratio } => {
                let (begin, part) = part([height, width], area, ratio, random);
                image
                    .cropped(begin, part, self.name())?
                    .resized(size, self.name())?
            }
            Self::Flip(probability) if random.flag(probability) => image.map(&Reversed(width)),
            Self::FlipRows(probability) if random.flag(probability) => {
                image.map(&Upended([height, width]))
            }
            Self::RandomErasing(probability) if random.flag(probability) => image.erased(random),
            Self::Flip(_) | Self::FlipRows(_) | Self::RandomErasing(_) => image,
        };
        Array::new(image.shape, image.values)
    }
}

/// Height and width with a shorter side of this length.
fn proportional([height, width]: [usize; 2], side: usize) -> [usize; 2] {
    let longer =
        |long: usize, short: usize| ((side as u128 * long as u128) as f64 / short as f64) as usize;
    match height <= width {
        true => [side, longer(width, height)],
        false => [longer(height, width), side],
    }
}

/// Where the middle part begins; before 0 where it is larger than what it is of.
fn centred(extent: usize, size: usize) -> isize {
    match extent >= size {
        true => ((extent - size) as f64 / 2.0).round_ties_even() as isize,
        false => -(((size - extent) / 2) as isize),
    }
}

/// Where a random part begins, if it has room.
fn corner(
    extents: [usize; 2],
    size: [usize; 2],
    padding: usize,
    random: &mut Random,
) -> Option<[isize; 2]> {
    let mut begin = [0; 2];
    for axis in 0..2 {
        let room = (extents[axis] + 2 * padding).checked_sub(size[axis])?;
        begin[axis] = random.below(room + 1) as isize - padding as isize;
    }
    Some(begin)
}

/// Height and width of a share of an area with this proportion, rounded.
fn rectangle(area: f64, height_by_width: f64) -> [usize; 2] {
    let rounded = |extent: f64| libm::sqrt(extent).round_ties_even() as usize;
    [
        rounded(area * height_by_width),
        rounded(area / height_by_width),
    ]
}

/// A number between two positive ones, uniform in its logarithm.
fn proportion([low, high]: [f64; 2], random: &mut Random) -> f64 {
    libm::exp(random.between([libm::log(low), libm::log(high)]))
}

/// Begin and size of a random part: ten attempts, then the largest part in the middle whose proportion is
/// allowed. `ratio` is of the width by the height.
fn part(
    [height, width]: [usize; 2],
    area: [f64; 2],
    ratio: [f64; 2],
    random: &mut Random,
) -> ([isize; 2], [usize; 2]) {
    let all = height as f64 * width as f64;
    for _ in 0..10 {
        let share = all * random.between(area);
        let size = rectangle(share, 1.0 / proportion(ratio, random));
        if !size.contains(&0)
            && let Some(begin) = corner([height, width], size, 0, random)
        {
            return (begin, size);
        }
    }
    let own = width as f64 / height as f64;
    let rounded = |extent: f64, most: usize| (extent.round_ties_even() as usize).clamp(1, most);
    let size = if own < ratio[0] {
        [rounded(width as f64 / ratio[0], height), width]
    } else if own > ratio[1] {
        [height, rounded(height as f64 * ratio[1], width)]
    } else {
        [height, width]
    };
    let begin = [(height - size[0]) / 2, (width - size[1]) / 2];
    (begin.map(|begin| begin as isize), size)
}

/// An image `(C, H, W)`.
struct Image {
    shape: [usize; 3],
    values: Values,
}

/// What is done with planes of any type.
trait OnPlanes {
    fn run<P: Pixel>(&self, planes: Vec<P>) -> Vec<P>;
}

impl Image {
    fn map(self, what: &impl OnPlanes) -> Self {
        let values = match self.values {
            Values::Bytes(planes) => Values::Bytes(what.run(planes)),
            Values::Integers(planes) => Values::Integers(what.run(planes)),
            Values::Floats(planes) => Values::Floats(what.run(planes)),
        };
        Self { values, ..self }
    }

    /// The same with another height and width.
    fn with_size(mut self, size: [usize; 2], step: &str, what: &impl OnPlanes) -> Result<Self> {
        let shape = [self.shape[0], size[0], size[1]];
        if elements(&shape) > MOST {
            let reason = format!("an image of {shape:?}, of {MOST} numbers at most");
            return Err(Error::argument(step, reason));
        }
        self = self.map(what);
        Ok(Self { shape, ..self })
    }

    fn resized(self, to: [usize; 2], step: &str) -> Result<Self> {
        let [_, height, width] = self.shape;
        match [height, width] == to {
            true => Ok(self),
            false => self.with_size(
                to,
                step,
                &Resized {
                    of: [height, width],
                    to,
                },
            ),
        }
    }

    /// The part from `begin` on, with zeros outside the image.
    fn cropped(self, begin: [isize; 2], size: [usize; 2], step: &str) -> Result<Self> {
        let [_, height, width] = self.shape;
        let of = [height, width];
        self.with_size(size, step, &Cropped { of, begin, size })
    }

    /// Zeros in a random rectangle, if one of ten attempts fits.
    fn erased(self, random: &mut Random) -> Self {
        let [_, height, width] = self.shape;
        for _ in 0..10 {
            let share = height as f64 * width as f64 * random.between([0.02, 0.33]);
            let size = rectangle(share, proportion([0.3, 3.3], random));
            if size[0] < height && size[1] < width {
                let room = [height - size[0], width - size[1]];
                let begin = room.map(|room| random.below(room + 1));
                return self.map(&Erased {
                    of: [height, width],
                    begin,
                    size,
                });
            }
        }
        self
    }
}

struct Resized {
    of: [usize; 2],
    to: [usize; 2],
}

impl OnPlanes for Resized {
    fn run<P: Pixel>(&self, planes: Vec<P>) -> Vec<P> {
        resize(&planes, self.of, self.to)
    }
}

struct Cropped {
    of: [usize; 2],
    begin: [isize; 2],
    size: [usize; 2],
}

impl OnPlanes for Cropped {
    fn run<P: Pixel>(&self, planes: Vec<P>) -> Vec<P> {
        let ([height, width], [rows, columns]) = (self.of, self.size);
        // The columns that lie inside, in the part and in the image.
        let [top, left] = self.begin;
        let before = left.min(0).unsigned_abs().min(columns);
        let from = left.max(0).unsigned_abs().min(width);
        let inside = (columns - before).min(width - from);
        let mut part = Vec::with_capacity(planes.len() / (height * width) * rows * columns);
        for plane in planes.chunks_exact(height * width) {
            for row in 0..rows {
                let end = part.len() + columns;
                let row = top
                    .checked_add_unsigned(row)
                    .and_then(|row| usize::try_from(row).ok());
                if let Some(row) = row.filter(|&row| row < height) {
                    part.resize(part.len() + before, P::default());
                    part.extend_from_slice(&plane[row * width + from..][..inside]);
                }
                part.resize(end, P::default());
            }
        }
        part
    }
}

/// Left and right changed, in rows of this width.
struct Reversed(usize);

impl OnPlanes for Reversed {
    fn run<P: Pixel>(&self, mut planes: Vec<P>) -> Vec<P> {
        planes.chunks_exact_mut(self.0).for_each(<[P]>::reverse);
        planes
    }
}

/// Top and bottom changed.
struct Upended([usize; 2]);

impl OnPlanes for Upended {
    fn run<P: Pixel>(&self, planes: Vec<P>) -> Vec<P> {
        let [height, width] = self.0;
        let rows = planes.chunks_exact(height * width);
        let rows = rows.flat_map(|plane| plane.chunks_exact(width).rev());
        rows.flatten().copied().collect()
    }
}

struct Erased {
    of: [usize; 2],
    begin: [usize; 2],
    size: [usize; 2],
}

impl OnPlanes for Erased {
    fn run<P: Pixel>(&self, mut planes: Vec<P>) -> Vec<P> {
        let ([height, width], [top, left], [rows, columns]) = (self.of, self.begin, self.size);
        for plane in planes.chunks_exact_mut(height * width) {
            for row in plane.chunks_exact_mut(width).skip(top).take(rows) {
                row[left..left + columns].fill(P::default());
            }
        }
        planes
    }
}
