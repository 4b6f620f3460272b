//! Values around a plane.

use super::window::{LARGEST_EXTENT, Padding, Size2, check_positions};
use super::{Definition, ParameterSpec, countable, image, like_image, only};
use crate::shape::elements;
use crate::{Error, Result, Shape};

/// What lies around a plane where a layer pads it: PyTorch's `padding_mode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum PaddingMode {
    /// Zeros.
    #[default]
    Zeros,
    /// The plane mirrored at its outermost values, which stand once: `c b [a b c] b a`. Less on each side
    /// than the plane has.
    Reflect,
    /// The outermost values: `a a [a b c] c c`.
    Replicate,
    /// The plane again: `b c [a b c] a b`. No more on each side than the plane has.
    Circular,
}

impl PaddingMode {
    /// Every mode, in the order of the shaders' numbers from 0 on.
    pub(crate) const ALL: [Self; 4] = [Self::Zeros, Self::Reflect, Self::Replicate, Self::Circular];

    /// The number that stands for this mode in the shaders.
    pub(crate) fn code(self) -> u32 {
        match self {
            Self::Zeros => 0,
            Self::Reflect => 1,
            Self::Replicate => 2,
            Self::Circular => 3,
        }
    }

    /// Where along an axis of so many values the one comes from that stands at a place, counted from the
    /// first padded one, with `before` of them before the axis. `None` for a zero.
    pub(crate) fn source(self, place: usize, before: usize, extent: usize) -> Option<usize> {
        let at = match place.checked_sub(before) {
            Some(at) if at < extent => return Some(at),
            at => at, // none is before the axis
        };
        match (self, at) {
            (Self::Zeros, _) => None,
            (Self::Reflect, None) => Some(before - place),
            (Self::Reflect, Some(at)) => Some(2 * (extent - 1) - at),
            (Self::Replicate, None) => Some(0),
            (Self::Replicate, Some(_)) => Some(extent - 1),
            (Self::Circular, None) => Some(place + extent - before),
            (Self::Circular, Some(at)) => Some(at - extent),
        }
    }
}

/// Values around each plane of images `(N, C, H, W)`, or around signals `(N, C, L)`, which have no rows
/// above or below.
///
/// ```
/// use wgpu_cnn::{Model, Pad2d, PaddingMode};
/// // A row above, two below, three columns before and none after.
/// let pad = Pad2d::new([1, 2, 3, 0]).mode(PaddingMode::Reflect);
/// let model = Model::builder([4, 5, 6]).push(pad).build()?;
/// assert_eq!(model.output_shape().to_string(), "[4, 8, 9]");
/// # Ok::<(), wgpu_cnn::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pad2d {
    /// How much: rows and columns, but not [`Padding::Same`] or [`Padding::Causal`], which are for windows.
    pub padding: Padding,
    /// Of what. Default [`PaddingMode::Zeros`].
    pub mode: PaddingMode,
}

impl Pad2d {
    /// Zeros around each plane: a number, `[height, width]`, or `[top, bottom, left, right]`, which is not
    /// PyTorch's order.
    pub fn new(padding: impl Into<Padding>) -> Self {
        Self {
            padding: padding.into(),
            mode: PaddingMode::default(),
        }
    }

    /// Sets what lies around.
    pub fn mode(mut self, mode: PaddingMode) -> Self {
        self.mode = mode;
        self
    }

    /// The resolved extents for `batch` images of `[C, H, W]`, or signals of `[C, L]` taken as `[C, 1, L]`.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] where the input is neither, or too small for what is to lie around it, and
    /// [`Error::Argument`] where there is more than can be addressed.
    pub fn geometry(&self, batch: usize, input: &Shape) -> Result<Pad2dGeometry> {
        let Padding::Explicit {
            top,
            bottom,
            left,
            right,
        } = self.padding
        else {
            let reason = "is not that of a window: rows and columns are wanted";
            return Err(Error::argument("pad2d padding", reason));
        };
        let [channels, in_size @ ..] = image("pad2d", input)?;
        let planes = elements(&[batch, channels]);
        let padding = [top, bottom, left, right];
        if input.rank() == 2 && (top > 0 || bottom > 0) {
            return Err(Error::shape(
                "pad2d",
                format!("no rows above or below the signal {input}"),
                format!("{top} above and {bottom} below"),
            ));
        }
        let geometry = Pad2dGeometry {
            planes,
            in_size: in_size.into(),
            padding,
            mode: self.mode,
        };
        geometry.check("pad2d")?;
        Ok(geometry)
    }
}

/// Every extent of a padding, resolved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Pad2dGeometry {
    /// Planes: channels of all images.
    pub planes: usize,
    /// Extents of an input plane.
    pub in_size: Size2,
    /// `[top, bottom, left, right]` in rows and columns.
    pub padding: [usize; 4],
    /// Of what.
    pub mode: PaddingMode,
}

impl Pad2dGeometry {
    /// Extents of an output plane. These and the lengths saturate where they outgrow `usize`.
    pub fn out_size(&self) -> Size2 {
        let [top, bottom, left, right] = self.padding;
        let Size2 { height, width } = self.in_size;
        Size2 {
            height: height.saturating_add(top).saturating_add(bottom),
            width: width.saturating_add(left).saturating_add(right),
        }
    }

    /// Elements of the input.
    pub fn input_len(&self) -> usize {
        elements(&[self.planes, self.in_size.height, self.in_size.width])
    }

    /// Elements of the output.
    pub fn output_len(&self) -> usize {
        let Size2 { height, width } = self.out_size();
        elements(&[self.planes, height, width])
    }

    /// The most places along each axis that show one value of the input.
    pub(crate) fn most_places(&self) -> Size2 {
        let [top, bottom, left, right] = self.padding;
        let most = |extent: usize, before: usize, after: usize| match self.mode {
            PaddingMode::Zeros => 1,
            PaddingMode::Reflect | PaddingMode::Circular => 3,
            PaddingMode::Replicate if extent == 1 => before + after + 1,
            PaddingMode::Replicate => before.max(after) + 1,
        };
        Size2 {
            height: most(self.in_size.height, top, bottom),
            width: most(self.in_size.width, left, right),
        }
    }

    /// Refuses what there is nothing to lie around, or too little, and more than can be addressed.
    pub(crate) fn check(&self, name: &str) -> Result<()> {
        let Size2 { height, width } = self.in_size;
        let ([top, bottom, left, right], one) = (self.padding, Size2::ONE);
        if self.in_size.area() == 0 {
            return Err(Error::argument(name, "extents must not be zero"));
        }
        if [height, width, top, bottom, left, right]
            .iter()
            .any(|&extent| extent > LARGEST_EXTENT)
        {
            let reason = format!("an extent is larger than {LARGEST_EXTENT}");
            return Err(Error::argument(name, reason));
        }
        let (rows, columns) = (top.max(bottom), left.max(right));
        let (holds, what) = match self.mode {
            PaddingMode::Zeros | PaddingMode::Replicate => (true, ""),
            PaddingMode::Reflect => (rows < height && columns < width, "larger than"),
            PaddingMode::Circular => (rows <= height && columns <= width, "at least as large as"),
        };
        if !holds {
            return Err(Error::shape(
                name,
                format!("planes {what} what lies around them, {rows} rows and {columns} columns"),
                format!("{height}x{width}"),
            ));
        }
        check_positions(
            name,
            [self.in_size, self.out_size(), one, one, one],
            self.padding,
        )?;
        countable(name, &[self.planes, height, width])?;
        let Size2 { height, width } = self.out_size();
        countable(name, &[self.planes, height, width])
    }
}

impl Definition for Pad2d {
    fn name(&self) -> &'static str {
        "pad2d"
    }

    fn output_shape(&self, inputs: &[&Shape]) -> Result<Shape> {
        let input = only("pad2d", inputs)?;
        let geometry = self.geometry(1, input)?;
        Ok(like_image(input, geometry.planes, geometry.out_size()))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_those_of_pytorch() {
        let of = |mode: PaddingMode, before: usize, extent: usize, after: usize| -> String {
            let places = 0..before + extent + after;
            let letter = |at: usize| char::from(b'a' + at as u8);
            let sources = places.map(|place| mode.source(place, before, extent));
            sources.map(|at| at.map_or('0', letter)).collect()
        };
        assert_eq!(of(PaddingMode::Zeros, 2, 3, 1), "00abc0");
        assert_eq!(of(PaddingMode::Reflect, 2, 3, 1), "cbabcb");
        assert_eq!(of(PaddingMode::Reflect, 0, 4, 3), "abcdcba");
        assert_eq!(of(PaddingMode::Replicate, 2, 3, 4), "aaabccccc");
        assert_eq!(of(PaddingMode::Replicate, 2, 1, 2), "aaaaa");
        assert_eq!(of(PaddingMode::Circular, 2, 3, 3), "bcabcabc");
        for (at, mode) in PaddingMode::ALL.into_iter().enumerate() {
            assert_eq!(mode.code() as usize, at);
        }
    }

    #[test]
    fn what_has_no_source_is_refused() {
        let of = |padding: [usize; 4], mode| {
            let geometry = Pad2d::new(padding)
                .mode(mode)
                .geometry(2, &[3, 4, 5].into());
            geometry.map(|geometry| geometry.out_size())
        };
        let (reflect, circular) = (PaddingMode::Reflect, PaddingMode::Circular);
        assert_eq!(of([3, 0, 4, 1], reflect).unwrap(), Size2::from([7, 10]));
        for padding in [[4, 0, 0, 0], [0, 4, 0, 0], [0, 0, 5, 0], [0, 0, 0, 5]] {
            let said = of(padding, reflect).unwrap_err().to_string();
            assert!(said.contains("larger than what lies around"), "{said}");
            of(padding, circular).unwrap();
            let one_more = padding.map(|side| side + usize::from(side > 0));
            let said = of(one_more, circular).unwrap_err().to_string();
            assert!(said.contains("at least as large as"), "{said}");
        }
        for mode in PaddingMode::ALL {
            assert!(of([usize::MAX; 4], mode).is_err());
            assert!(of([1 << 25, 0, 0, 0], mode).is_err());
        }
        let signal = Shape::from([3, 9]);
        let of_signal = |pad: Pad2d| pad.geometry(1, &signal);
        of_signal(Pad2d::new([0, 0, 2, 1])).unwrap();
        let said = of_signal(Pad2d::new(1)).unwrap_err().to_string();
        assert!(said.contains("no rows above or below"), "{said}");
        for padding in [Padding::Same, Padding::Causal] {
            let said = of_signal(Pad2d::new(padding)).unwrap_err().to_string();
            assert!(said.starts_with("pad2d padding"), "{said}");
        }
    }
}
