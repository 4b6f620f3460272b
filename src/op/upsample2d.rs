//! Planes made larger or smaller by interpolation.

use super::window::LARGEST_EXTENT;
use super::{Definition, ParameterSpec, Size2, countable, image, like_image, only};
use crate::{Error, Result, Shape};

/// What an output takes from the plane around its position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Interpolation {
    /// The value at the position, rounded down.
    Nearest,
    /// The mean of the four values around it, weighted with how near each is along each axis.
    Bilinear,
}

/// How large the planes become.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Resize {
    /// So large.
    Size(Size2),
    /// So many times as high and as wide, rounded down: `[height, width]`.
    Scale([f64; 2]),
}

/// Planes of `(N, C, H, W)` made larger, or smaller, by interpolation: PyTorch's `nn.Upsample` and
/// `functional.interpolate`.
///
/// Output `i` of an axis of `in` values that becomes `out` lies at a position of the input, where `step` is
/// `in / out`, or `1 / scale` if a scale is given:
///
/// | | position |
/// |---|---|
/// | [`Nearest`](Interpolation::Nearest) | `floor(i * step)`, a product of 32-bit numbers as in PyTorch |
/// | [`Bilinear`](Interpolation::Bilinear) | `max(0, (i + 0.5) * step - 0.5)` |
/// | the same with `align_corners` | `i * (in - 1) / (out - 1)`; 0 where `out` is 1 |
///
/// An axis that keeps its extent is copied, and one that doubles has a step of 1/2 for `Nearest`, whatever
/// the scale. Nothing is smoothed before planes are made smaller. Values with a weight of zero count: zero
/// times infinity is NaN. A signal `[C, L]` is one row, and stays one: `size([1, n])`, `scale([1.0, s])`.
///
/// ```
/// use wgpu_cnn::{Model, Upsample2d};
/// let model = Model::builder([8, 5, 5])
///     .upsample2d(2) // the nearest, twice as large
///     .upsample2d(Upsample2d::bilinear().size([7, 9]).align_corners(true))
///     .upsample2d(Upsample2d::bilinear().scale([1.5, 0.5]))
///     .build()?;
/// assert_eq!(model.output_shape().to_string(), "[8, 10, 4]");
/// # Ok::<(), wgpu_cnn::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Upsample2d {
    /// What an output is made of.
    pub interpolation: Interpolation,
    /// How large the planes become. Default twice as large.
    pub to: Resize,
    /// Whether the middles of the outermost pixels stay where they are, rather than the edges of the plane.
    /// Of bilinear interpolation alone. Default false.
    pub align_corners: bool,
}

impl Upsample2d {
    fn new(interpolation: Interpolation) -> Self {
        Self {
            interpolation,
            to: Resize::Scale([2.0; 2]),
            align_corners: false,
        }
    }

    /// Each output is the value nearest to its corner.
    pub fn nearest() -> Self {
        Self::new(Interpolation::Nearest)
    }

    /// Each output is made of the four values around it.
    pub fn bilinear() -> Self {
        Self::new(Interpolation::Bilinear)
    }

    /// Sets how large the planes become: a number, or `[height, width]`.
    pub fn size(self, size: impl Into<Size2>) -> Self {
        let to = Resize::Size(size.into());
        Self { to, ..self }
    }

    /// Sets how many times as high and as wide they become.
    pub fn scale(self, scale: [f64; 2]) -> Self {
        let to = Resize::Scale(scale);
        Self { to, ..self }
    }

    /// Sets whether the middles of the outermost pixels stay where they are.
    pub fn align_corners(self, align_corners: bool) -> Self {
        Self {
            align_corners,
            ..self
        }
    }

    /// The resolved extents for `batch` images of shape `input`.
    pub fn geometry(&self, batch: usize, input: &Shape) -> Result<Upsample2dGeometry> {
        let [channels, in_size @ ..] = image(NAME, input)?;
        let in_size = Size2::from(in_size);
        let (out_size, scale) = match self.to {
            Resize::Size(size) => (size, None),
            Resize::Scale(scale) => (scaled(in_size, scale)?, Some(scale)),
        };
        if input.rank() == 2 && out_size.height != 1 {
            let expected = format!("one row, for the signal {input}");
            let got = format!("{} rows", out_size.height);
            return Err(Error::shape(NAME, expected, got));
        }
        if self.align_corners && self.interpolation == Interpolation::Nearest {
            let reason = "is an option of bilinear interpolation";
            return Err(Error::argument(format!("{NAME} align_corners"), reason));
        }
        let geometry = Upsample2dGeometry {
            planes: batch.saturating_mul(channels),
            in_size,
            out_size,
            interpolation: self.interpolation,
            align_corners: self.align_corners,
            scale,
        };
        geometry.check()?;
        Ok(geometry)
    }
}

/// The nearest values, so many times as large in both directions.
impl From<usize> for Upsample2d {
    fn from(scale: usize) -> Self {
        Self::nearest().scale([scale as f64; 2])
    }
}

const NAME: &str = "upsample2d";

impl Definition for Upsample2d {
    fn name(&self) -> &'static str {
        NAME
    }

    fn output_shape(&self, inputs: &[&Shape]) -> Result<Shape> {
        let input = only(NAME, inputs)?;
        let geometry = self.geometry(1, input)?;
        Ok(like_image(input, input[0], geometry.out_size))
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

/// What a size becomes by a scale.
fn scaled(size: Size2, scale: [f64; 2]) -> Result<Size2> {
    let largest = LARGEST_EXTENT as f64;
    let axis = |extent: usize, scale: f64| {
        let scaled = extent as f64 * scale;
        match (1.0..=largest).contains(&scaled) && (1.0 / largest..=largest).contains(&scale) {
            true => Ok(scaled as usize),
            false => {
                let reason = format!("{scale} times {extent} is not within 1..={largest}");
                Err(Error::argument(format!("{NAME} scale"), reason))
            }
        }
    };
    Ok(Size2 {
        height: axis(size.height, scale[0])?,
        width: axis(size.width, scale[1])?,
    })
}

/// Every extent of an upsampling, resolved.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Upsample2dGeometry {
    /// Images times channels.
    pub planes: usize,
    /// Extents of an input plane.
    pub in_size: Size2,
    /// Extents of an output plane.
    pub out_size: Size2,
    /// What an output is made of.
    pub interpolation: Interpolation,
    /// Whether the middles of the outermost pixels stay where they are.
    pub align_corners: bool,
    /// The scale that the output's extents follow from, if there is one.
    pub scale: Option<[f64; 2]>,
}

impl Upsample2dGeometry {
    /// Elements of the input, saturating where the product outgrows `usize`.
    pub fn input_len(&self) -> usize {
        self.planes.saturating_mul(self.in_size.area())
    }

    /// Elements of the output, saturating like those of the input.
    pub fn output_len(&self) -> usize {
        self.planes.saturating_mul(self.out_size.area())
    }

    /// Refuses what is no upsampling, of a geometry that a program wrote itself.
    pub(crate) fn check(&self) -> Result<()> {
        let Self {
            planes,
            in_size,
            out_size,
            ..
        } = *self;
        for Size2 { height, width } in [in_size, out_size] {
            if height.min(width) == 0 || height.max(width) > LARGEST_EXTENT {
                let reason = format!("{height}x{width} is not within 1x1..={LARGEST_EXTENT}");
                return Err(Error::argument(format!("{NAME} size"), reason));
            }
            countable(NAME, &[planes, height, width])?;
        }
        match self.scale {
            Some(scale) if scaled(in_size, scale)? != out_size => {
                let reason = "gives another size than the geometry has";
                Err(Error::argument(format!("{NAME} scale"), reason))
            }
            _ => Ok(()),
        }
    }

    /// Where the outputs lie along each axis, of a geometry that has been checked.
    pub(crate) fn axes(&self) -> [Axis; 2] {
        let Self {
            in_size, out_size, ..
        } = *self;
        let scale = |axis: usize| self.scale.map(|scale| scale[axis]);
        [
            self.axis(in_size.height, out_size.height, scale(0)),
            self.axis(in_size.width, out_size.width, scale(1)),
        ]
    }

    fn axis(&self, input: usize, output: usize, scale: Option<f64>) -> Axis {
        let copied = input == output;
        let [numerator, denominator] = match scale {
            _ if copied => [1, 1],
            _ if self.align_corners && output == 1 => [0, 1],
            _ if self.align_corners => reduced([input as u128 - 1, output as u128 - 1]),
            Some(scale) => reduced(reciprocal(scale)),
            None => reduced([input as u128, output as u128]),
        };
        // With centres aligned, (i + 1/2) * n/d - 1/2 is (2n * i + n - d) / 2d.
        let [step, offset, unit] = match self.align_corners || copied {
            true => [numerator, 0, denominator],
            false => [2 * numerator, numerator - denominator, 2 * denominator],
        };
        let nearest = match scale {
            Some(scale) if output != input && output != 2 * input => (1.0 / scale) as f32,
            _ => input as f32 / output as f32,
        };
        Axis {
            input,
            output,
            interpolation: self.interpolation,
            step,
            offset,
            unit,
            next: u32::from(!copied),
            nearest,
        }
    }
}

/// Where the outputs of an axis lie on its input.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Axis {
    pub input: usize,
    pub output: usize,
    pub interpolation: Interpolation,
    /// Of bilinear interpolation: output `i` is at `max(0, step * i + offset) / unit`. Whole numbers of at
    /// most 26 bits, so that kernels find the same neighbours as the reference.
    pub step: i32,
    pub offset: i32,
    pub unit: i32,
    /// From the first neighbour of a position to the second one: 0 where the axis is copied.
    pub next: u32,
    /// Of the nearest values: output `i` is at `i * nearest`, rounded to 32 bits.
    pub nearest: f32,
}

/// What an output reads along an axis: two neighbours, which may be the same, and their weights.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Position {
    pub at: [usize; 2],
    pub weights: [f64; 2],
}

impl Axis {
    pub fn position(&self, i: usize) -> Position {
        let last = self.input - 1;
        if self.interpolation == Interpolation::Nearest {
            let at = ((i as f32 * self.nearest) as usize).min(last);
            return Position {
                at: [at; 2],
                weights: [1.0, 0.0],
            };
        }
        let [step, offset, unit] = [self.step, self.offset, self.unit].map(i64::from);
        let place = (step * i as i64 + offset).max(0);
        let (first, rest) = ((place / unit) as usize, (place % unit) as f64);
        Position {
            at: [first.min(last), (first + self.next as usize).min(last)],
            weights: [unit as f64 - rest, rest].map(|part| part / unit as f64),
        }
    }

    /// Outputs that read a place of the input at most.
    pub fn readers(&self) -> usize {
        let readers = match self.interpolation {
            Interpolation::Nearest => self.output.div_ceil(self.input) + 1,
            // Of two steps of the input, and as many outputs as lie at its edges.
            Interpolation::Bilinear => match self.step {
                0 => self.output,
                step => (2 * self.unit / step) as usize + 2 + self.output / self.input,
            },
        };
        readers.min(self.output)
    }

    /// The share of the input's places that an output reads, at most.
    pub fn reach(&self) -> f64 {
        let reads = match self.interpolation {
            Interpolation::Nearest => 1.0,
            Interpolation::Bilinear => 2.0,
        };
        (reads * self.output as f64 / self.input as f64).min(1.0)
    }
}

/// `1 / scale` as a fraction, exactly. The scale is within `2^-24..=2^24`.
fn reciprocal(scale: f64) -> [u128; 2] {
    // A factor of 2^77 makes every such number whole, its last bit being 2^-76 or more.
    let whole = (scale * 2f64.powi(77)) as u128;
    [1 << 77, whole]
}

/// A fraction of numbers of 25 bits: the same where it can be, else the nearest of its continued fraction,
/// which of `1 / 1.7` as a number of 64 bits is 10 / 17.
fn reduced([numerator, denominator]: [u128; 2]) -> [i32; 2] {
    let [mut a, mut b] = [numerator, denominator];
    let ([mut before, mut now], most) = ([[0, 1], [1, 0]], LARGEST_EXTENT as u128);
    while b != 0 {
        let next = [0, 1].map(|part| (a / b) * now[part] + before[part]);
        if next[0].max(next[1]) > most {
            break;
        }
        [before, now] = [now, next];
        [a, b] = [b, a % b];
    }
    now.map(|part: u128| part as i32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fractions_are_those_that_are_meant() {
        assert_eq!(reduced([6, 4]), [3, 2]);
        assert_eq!(reduced([0, 5]), [0, 1]);
        let most = LARGEST_EXTENT as u128;
        assert_eq!(reduced([most, most - 1]), [1 << 24, (1 << 24) - 1]);
        let of = |scale: f64| reduced(reciprocal(scale));
        assert_eq!(of(1.7), [10, 17]);
        assert_eq!([of(2.0), of(0.5), of(3.0)], [[1, 2], [2, 1], [1, 3]]);
        let [small, large] = [2f64.powi(-24), 2f64.powi(24)];
        assert_eq!([of(small), of(large)], [[1 << 24, 1], [1, 1 << 24]]);
        // The last bit of the smallest scales counts.
        assert_eq!(reciprocal(small * (1.0 + f64::EPSILON))[1], (1 << 53) + 2);
        for scale in [0.123_456_789, std::f64::consts::PI, 99.999] {
            let [numerator, denominator] = of(scale).map(f64::from);
            assert!((numerator / denominator - 1.0 / scale).abs() < 1e-13);
        }
    }

    #[test]
    fn hostile_sizes_and_scales_are_refused() {
        let image = &[1, 4, 4].into();
        let refused = |layer: Upsample2d| layer.geometry(1, image).unwrap_err().to_string();
        for scale in [f64::NAN, f64::INFINITY, -1.0, 0.0, 0.2, 1e-300, 1e300] {
            let said = refused(Upsample2d::nearest().scale([1.0, scale]));
            assert!(said.starts_with("upsample2d scale: "), "{said}");
        }
        for size in [0, LARGEST_EXTENT + 1, usize::MAX] {
            let said = refused(Upsample2d::bilinear().size([2, size]));
            assert!(said.starts_with("upsample2d size: "), "{said}");
        }
        let said = refused(Upsample2d::nearest().align_corners(true));
        assert_eq!(
            said,
            "upsample2d align_corners: is an option of bilinear interpolation"
        );
        let signal = &[2, 9].into();
        let said = Upsample2d::from(2).geometry(1, signal).unwrap_err();
        assert!(said.to_string().contains("one row, for the signal [2, 9]"));
        let geometry = Upsample2d::bilinear().scale([1.0, 2.0]).geometry(3, signal);
        assert_eq!(geometry.unwrap().output_len(), 3 * 2 * 18);
    }

    #[test]
    fn positions_are_monotone_and_no_place_has_more_readers_than_said() {
        let layers = [
            Upsample2d::nearest(),
            Upsample2d::bilinear(),
            Upsample2d::bilinear().align_corners(true),
        ];
        for (input, output) in (1..24).flat_map(|i| (1..24).map(move |o| (i, o))) {
            for layer in layers {
                let layer = layer.size([1, output]);
                let geometry = layer.geometry(1, &[1, 1, input].into()).unwrap();
                let [_, axis] = geometry.axes();
                let positions: Vec<_> = (0..output).map(|i| axis.position(i)).collect();
                assert!(positions.is_sorted_by_key(|position| position.at[0]));
                for place in 0..input {
                    let reads = |position: &&Position| position.at.contains(&place);
                    let readers = positions.iter().filter(reads).count();
                    assert!(readers <= axis.readers(), "{input} {output} {layer:?}");
                }
            }
        }
    }
}
