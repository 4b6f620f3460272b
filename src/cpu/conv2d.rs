//! Two-dimensional convolution. The twin of the `conv2d` kernels.
//!
//! As there, each pass is a matrix product over patches of the image: row `t` of the patches of a
//! plane holds, for every output pixel, the input pixel under the filter's tap `t`, or zero where
//! that lies in the padding.
//!
//! In `f64` these products are plain loops. Patches are unfolded for one plane at a time, small enough for the
//! cache, by row-wise copies that know where the image ends; of a large filter a few taps at a time.
//!
//! In `f32` they are tiles on vectors: `sliding` has the output and the input gradient, from windows of all channels
//! at once, which `windows` shares out by images and, where there are few, `few` by filters, and `weight` the weight
//! gradient, over some pixels at a time. `winograd` and `winograd_weight` compute the
//! same of 3x3, 1x3 and 5x5 filters at stride 1, with fewer multiplications. The plain loops are left for what these would waste
//! memory or time on: far more padding than pixels, very long or very few filters, strides with many phases, and, of
//! the input gradient, weights that are not finite.

mod few;
mod parts;
mod points;
mod sliding;
mod taps;
mod tiles;
mod weight;
mod windows;
mod winograd;
mod winograd_weight;

use std::ops::Range;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;

use sliding::Sliding;

use super::matmul::{add_dots, add_product};
use super::parallel::{for_each, for_each_with};
use super::product::ROWS;
use super::sum::{TERMS, add_wide, round, sum, sum_of};
use super::{Real, check_length, inside, singles};
use crate::Result;
use crate::op::Conv2dGeometry;

/// Taps of a filter that are unfolded at a time.
const TAPS: usize = 32;

/// `y[n,o,i,j] = b[o] + sum over c,p,q of w[o,c,p,q] * x[n,c, i*stride + p*dilation - padding, ..]`
/// for `x (N, C, H, W)`, `w (O, C/groups, KH, KW)`, `bias (O)` and `y (N, O, OH, OW)`.
///
/// # Errors
///
/// [`Error::Shape`](crate::Error::Shape) where a slice has another length than the geometry says.
pub fn conv2d_forward<T: Real>(
    geometry: &Conv2dGeometry,
    x: &[T],
    w: &[T],
    bias: Option<&[T]>,
    y: &mut [T],
) -> Result<()> {
    conv2d_forward_by(true, geometry, x, w, bias, y)
}

/// As [`conv2d_forward`]; with `direct_only` false by Winograd's algorithm where that pays.
pub(crate) fn conv2d_forward_by<T: Real>(
    direct_only: bool,
    geometry: &Conv2dGeometry,
    x: &[T],
    w: &[T],
    bias: Option<&[T]>,
    y: &mut [T],
) -> Result<()> {
    let sizes = Sizes::check(geometry, x.len(), w.len(), y.len())?;
    if let Some(bias) = bias {
        check_length("conv2d bias", [geometry.out_channels], bias.len())?;
    }
    if y.is_empty() {
        return Ok(());
    }
    if let Some((x, w, y)) = singles(x, w, y)
        && let Some(sliding) = Sliding::forward(&winograd::turned(direct_only, geometry), w)
    {
        sliding.compute(direct_only, x, bias.and_then(T::as_f32), y);
        return Ok(());
    }
    let block = sizes.filter_block(32);
    // Each portion of the sum, a channel's taps, is added to `y`; before these are too many for its
    // precision, what has gathered there moves to the totals.
    let most = TERMS - sizes.taps.min(TAPS);
    let long = sizes.group_inputs * sizes.taps.div_ceil(TAPS) > most;
    let totals = if long { block * sizes.outputs } else { 0 };
    let (outputs, scratch) = (chunks(y, block * sizes.outputs), || {
        (sizes.patches(), vec![0.0; totals])
    });
    for_each_with(outputs, scratch, |(patches, totals), (at, y)| {
        let (image, first) = (
            at * block / geometry.out_channels,
            at * block % geometry.out_channels,
        );
        for (o, y) in chunks(y, sizes.outputs) {
            y.fill(bias.map_or(T::zero(), |bias| bias[first + o]));
        }
        totals.fill(0.0);
        for (portion, (c, channel, taps)) in sizes.portions(first).enumerate() {
            if portion > 0 && portion.is_multiple_of(most) {
                add_wide(totals, y);
                y.fill(T::zero());
            }
            let plane = image * geometry.in_channels + channel;
            let x = &x[plane * sizes.inputs..][..sizes.inputs];
            unfold(geometry, taps.clone(), x, patches);
            let filter = |o| ((first + o) * sizes.group_inputs + c) * sizes.taps;
            let w = |o, tap| w[filter(o) + taps.start + tap];
            add_product(sizes.outputs, taps.len(), w, patches, y);
        }
        if long {
            add_wide(totals, y);
            round(totals, y);
        }
    });
    Ok(())
}

/// `gx[n,c,..] = sum over o,p,q of w[o,c,p,q] * gy[n,o,..]` over the outputs whose tap `(p,q)` lies
/// on the input pixel: the transpose of [`conv2d_forward`]. Shapes as there.
///
/// # Errors
///
/// [`Error::Shape`](crate::Error::Shape) where a slice has another length than the geometry says.
pub fn conv2d_backward_input<T: Real>(
    geometry: &Conv2dGeometry,
    gy: &[T],
    w: &[T],
    gx: &mut [T],
) -> Result<()> {
    conv2d_backward_input_by(true, geometry, gy, w, gx)
}

/// As [`conv2d_backward_input`]; with `direct_only` false by Winograd's algorithm where that pays.
pub(crate) fn conv2d_backward_input_by<T: Real>(
    direct_only: bool,
    geometry: &Conv2dGeometry,
    gy: &[T],
    w: &[T],
    gx: &mut [T],
) -> Result<()> {
    let sizes = Sizes::check(geometry, gx.len(), w.len(), gy.len())?;
    if gy.is_empty() || w.is_empty() {
        gx.fill(T::zero());
        return Ok(());
    }
    if let Some((gy, w, gx)) = singles(gy, w, gx)
        && let Some(sliding) = Sliding::backward_input(&winograd::turned(direct_only, geometry), w)
    {
        sliding.compute(direct_only, gy, None, gx);
        return Ok(());
    }
    let (planes, scratch) = (chunks(gx, sizes.inputs), || {
        (sizes.patches(), vec![0.0; sizes.inputs])
    });
    for_each_with(planes, scratch, |(patches, sums), (plane, gx)| {
        let (image, channel) = (plane / geometry.in_channels, plane % geometry.in_channels);
        let (group, c) = (channel / sizes.group_inputs, channel % sizes.group_inputs);
        let first = group * sizes.group_outputs;
        let gy = &gy[(image * geometry.out_channels + first) * sizes.outputs..];
        sums.fill(0.0);
        for taps in sizes.tap_blocks() {
            let filter = |o| ((first + o) * sizes.group_inputs + c) * sizes.taps;
            let w = |tap, o| w[filter(o) + taps.start + tap];
            let patches = &mut patches[..taps.len() * sizes.outputs];
            patches.fill(T::zero());
            add_product(sizes.outputs, sizes.group_outputs, w, gy, patches);
            fold(geometry, taps, patches, sums);
        }
        round(sums, gx);
    });
    Ok(())
}

/// `gw[o,c,p,q] = sum over n,i,j of gy[n,o,i,j] * x[n,c, i*stride + p*dilation - padding, ..]`.
/// Shapes as in [`conv2d_forward`].
///
/// # Errors
///
/// [`Error::Shape`](crate::Error::Shape) where a slice has another length than the geometry says.
pub fn conv2d_backward_weight<T: Real>(
    geometry: &Conv2dGeometry,
    x: &[T],
    gy: &[T],
    gw: &mut [T],
) -> Result<()> {
    conv2d_backward_weight_by(true, geometry, x, gy, gw)
}

/// As [`conv2d_backward_weight`]; with `direct_only` false by Winograd's algorithm where that pays.
pub(crate) fn conv2d_backward_weight_by<T: Real>(
    direct_only: bool,
    geometry: &Conv2dGeometry,
    x: &[T],
    gy: &[T],
    gw: &mut [T],
) -> Result<()> {
    let sizes = Sizes::check(geometry, x.len(), gw.len(), gy.len())?;
    if gy.is_empty() || x.is_empty() {
        gw.fill(T::zero());
        return Ok(());
    }
    if sizes.group_outputs >= ROWS
        && let Some((x, gy, gw)) = singles(x, gy, gw)
    {
        if direct_only || !winograd_weight::backward_weight(geometry, sizes, x, gy, gw) {
            weight::backward_weight(geometry, sizes, x, gy, gw);
        }
        return Ok(());
    }
    let block = sizes.filter_block(16);
    let len = block * sizes.taps.min(TAPS);
    let scratch = || (sizes.patches(), vec![T::zero(); len], vec![0.0; len]);
    let filters = chunks(gw, block * sizes.group_inputs * sizes.taps);
    for_each_with(filters, scratch, |(patches, sums, totals), (at, gw)| {
        let first = at * block;
        for (c, channel, taps) in sizes.portions(first) {
            let len = block * taps.len();
            let (sums, totals) = (&mut sums[..len], &mut totals[..len]);
            totals.fill(0.0);
            for image in 0..geometry.batch {
                let plane = image * geometry.in_channels + channel;
                let x = &x[plane * sizes.inputs..][..sizes.inputs];
                unfold(geometry, taps.clone(), x, patches);
                let gy = &gy[(image * geometry.out_channels + first) * sizes.outputs..];
                add_dots(taps.len(), sizes.outputs, gy, patches, sums, totals);
            }
            let filters = gw.chunks_exact_mut(sizes.group_inputs * sizes.taps);
            for (filter, totals) in filters.zip(totals.chunks_exact(taps.len())) {
                round(totals, &mut filter[c * sizes.taps + taps.start..]);
            }
        }
    });
    Ok(())
}

/// `gb[o] = sum over n,i,j of gy[n,o,i,j]` for `gy (N, O, OH, OW)` and `gb (O)`.
///
/// # Errors
///
/// [`Error::Shape`](crate::Error::Shape) where a slice has another length than the geometry says.
pub fn conv2d_backward_bias<T: Real>(
    geometry: &Conv2dGeometry,
    gy: &[T],
    gb: &mut [T],
) -> Result<()> {
    let (channels, outputs) = (geometry.out_channels, geometry.out_size.area());
    let shape = geometry.output_shape();
    check_length("conv2d output gradient", shape, gy.len())?;
    check_length("conv2d bias gradient", [channels], gb.len())?;
    sum_planes(outputs, gy, gb);
    Ok(())
}

/// The sum over images and pixels of each channel of `(N, C, plane)`.
pub(super) fn sum_planes<T: Real>(plane: usize, values: &[T], totals: &mut [T]) {
    let channels = totals.len();
    for_each(totals.iter_mut().enumerate(), |(c, total)| {
        let planes = values.chunks_exact(plane.max(1));
        let planes = planes.skip(c).step_by(channels);
        *total = T::nearest(sum(planes.map(sum_of)));
    });
}

/// Whether no number is infinite or NaN.
fn all_finite(values: &[f32]) -> bool {
    let all = AtomicBool::new(true);
    for_each(values.chunks(1 << 16), |values| {
        // Without a way out the loop is one on vectors.
        if values.iter().fold(false, |any, v| any | !v.is_finite()) {
            all.store(false, Relaxed);
        }
    });
    all.into_inner()
}

/// Lengths that every pass needs.
#[derive(Clone, Copy)]
struct Sizes {
    /// Pixels of an input plane.
    inputs: usize,
    /// Pixels of an output plane.
    outputs: usize,
    /// Elements of one channel of a filter.
    taps: usize,
    /// Input channels of a group.
    group_inputs: usize,
    /// Output channels of a group.
    group_outputs: usize,
}

impl Sizes {
    /// Refuses slices of other lengths: of the input or its gradient, the weights or theirs, the
    /// output or its.
    fn check(geometry: &Conv2dGeometry, x: usize, w: usize, y: usize) -> Result<Self> {
        geometry.check("conv2d")?;
        let &Conv2dGeometry {
            groups,
            in_channels,
            in_size,
            out_channels,
            ..
        } = geometry;
        check_length("conv2d input", geometry.input_shape(), x)?;
        check_length("conv2d weight", geometry.weight_shape(), w)?;
        check_length("conv2d output", geometry.output_shape(), y)?;
        Ok(Self {
            inputs: in_size.area(),
            outputs: geometry.out_size.area(),
            taps: geometry.kernel.area(),
            group_inputs: in_channels / groups,
            group_outputs: out_channels / groups,
        })
    }

    /// Memory for a block of patches of one plane, `(taps, outputs)`.
    fn patches<T: Real>(self) -> Vec<T> {
        vec![T::zero(); self.taps.min(TAPS) * self.outputs]
    }

    /// The taps that are unfolded together.
    fn tap_blocks(self) -> impl Iterator<Item = Range<usize>> {
        let starts = (0..self.taps).step_by(TAPS);
        starts.map(move |start| start..self.taps.min(start + TAPS))
    }

    /// What a filter is a sum over: the input channels of its group, by their number in the group
    /// and in the image, and of each the taps, block by block.
    fn portions(self, filter: usize) -> impl Iterator<Item = (usize, usize, Range<usize>)> {
        let first = filter / self.group_outputs * self.group_inputs;
        let channels = (0..self.group_inputs).map(move |c| (c, first + c));
        channels.flat_map(move |(c, channel)| self.tap_blocks().map(move |taps| (c, channel, taps)))
    }

    /// How many filters of a group share unfolded patches, at most `most`.
    fn filter_block(self, most: usize) -> usize {
        (1..=most)
            .rev()
            .find(|&block| self.group_outputs.is_multiple_of(block))
            .unwrap_or(1)
    }
}

/// Disjoint chunks with their numbers; none where the chunks are empty.
fn chunks<T>(slice: &mut [T], len: usize) -> impl Iterator<Item = (usize, &mut [T])> {
    slice.chunks_exact_mut(len.max(1)).enumerate()
}

/// Calls `visit(tap, row, columns, start)` for each of these taps, by its place among them, and each of
/// these rows of outputs of which some find it inside the image: `columns` is which of its outputs these are,
/// `start` where in the plane the first of them finds the tap.
#[inline(always)]
fn for_each_patch_row(
    geometry: &Conv2dGeometry,
    taps: Range<usize>,
    among: Range<usize>,
    mut visit: impl FnMut(usize, usize, Range<usize>, usize),
) {
    let &Conv2dGeometry {
        in_size,
        out_size,
        kernel,
        stride,
        padding,
        dilation,
        ..
    } = geometry;
    let [top, _, left, _] = padding.map(|extent| extent as isize);
    for (at, tap) in taps.enumerate() {
        let (p, q) = (tap / kernel.width, tap % kernel.width);
        let down = (p * dilation.height) as isize - top;
        let right = (q * dilation.width) as isize - left;
        let rows = inside(out_size.height, stride.height, down, in_size.height);
        let columns = inside(out_size.width, stride.width, right, in_size.width);
        if columns.is_empty() {
            continue;
        }
        let first = (columns.start * stride.width) as isize + right;
        for i in rows.start.max(among.start)..rows.end.min(among.end) {
            let row = (i * stride.height) as isize + down;
            let start = row * in_size.width as isize + first;
            visit(at, i, columns.clone(), start as usize);
        }
    }
}

/// Copies the patches of some taps out of a plane. What lies in the padding stays as it is, zero,
/// unless other taps have been there before.
fn unfold<T: Real>(geometry: &Conv2dGeometry, taps: Range<usize>, plane: &[T], patches: &mut [T]) {
    if taps.len() < geometry.kernel.area() {
        patches.fill(T::zero());
    }
    let size = geometry.out_size;
    unfold_rows(
        geometry,
        (taps, 0..size.height),
        plane,
        size.area(),
        patches,
    );
}

/// Copies the pixels that some taps meet in some rows of outputs out of a plane, each tap's `pitch` after the one before.
#[inline(always)]
fn unfold_rows<T: Real>(
    geometry: &Conv2dGeometry,
    (taps, rows): (Range<usize>, Range<usize>),
    plane: &[T],
    pitch: usize,
    patches: &mut [T],
) {
    let stride = geometry.stride.width;
    let visit = |tap: usize, row: usize, columns: Range<usize>, start: usize| {
        let at = tap * pitch + (row - rows.start) * geometry.out_size.width;
        let to = &mut patches[at + columns.start..at + columns.end];
        if stride == 1 {
            to.copy_from_slice(&plane[start..start + to.len()]);
        } else {
            let pixels = plane[start..].iter().step_by(stride);
            to.iter_mut().zip(pixels).for_each(|(to, from)| *to = *from);
        }
    };
    for_each_patch_row(geometry, taps, rows.clone(), visit);
}

/// Adds the patches of some taps to the plane that they would be unfolded from.
fn fold<T: Real>(geometry: &Conv2dGeometry, taps: Range<usize>, patches: &[T], plane: &mut [f64]) {
    let stride = geometry.stride.width;
    let size = geometry.out_size;
    for_each_patch_row(
        geometry,
        taps,
        0..size.height,
        |tap, row, columns, start| {
            let at = tap * size.area() + row * size.width;
            let patch = &patches[at + columns.start..at + columns.end];
            if stride == 1 {
                add_wide(&mut plane[start..start + patch.len()], patch);
            } else {
                let pixels = plane[start..].iter_mut().step_by(stride);
                pixels.zip(patch).for_each(|(to, from)| *to += from.wide());
            }
        },
    );
}

#[cfg(test)]
mod tests;
