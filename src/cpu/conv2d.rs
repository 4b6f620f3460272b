//! Two-dimensional convolution. The twin of the `conv2d` kernels.
//!
//! As there, each pass is a matrix product over patches of the image: row `t` of the patches of a
//! plane holds, for every output pixel, the input pixel under the filter's tap `t`, or zero where
//! that lies in the padding. Patches are gathered for one plane at a time, small enough for the
//! cache, by row-wise copies that know where the image ends.

use std::ops::Range;

use super::matmul::{add, add_dots, add_product};
use super::parallel::{for_each, for_each_with};
use super::{Real, check_length, inside};
use crate::op::Conv2dGeometry;
use crate::{Error, Result};

/// `y[n,o,i,j] = b[o] + sum over c,p,q of w[o,c,p,q] * x[n,c, i*stride + p*dilation - padding, ..]`
/// for `x (N, C, H, W)`, `w (O, C/groups, KH, KW)`, `bias (O)` and `y (N, O, OH, OW)`.
///
/// # Errors
///
/// [`Error::Shape`] where a slice has another length than the geometry says.
pub fn conv2d_forward<T: Real>(
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
    let block = sizes.filter_block(32);
    let outputs = chunks(y, block * sizes.outputs);
    for_each_with(outputs, || sizes.patches(), |patches, (at, y)| {
        let (image, first) = (at * block / geometry.out_channels, at * block % geometry.out_channels);
        for (o, y) in chunks(y, sizes.outputs) {
            y.fill(bias.map_or(T::zero(), |bias| bias[first + o]));
        }
        for (c, plane) in sizes.inputs_of(first / sizes.group_outputs).enumerate() {
            let plane = image * geometry.in_channels + plane;
            gather_patches(geometry, &x[plane * sizes.inputs..][..sizes.inputs], patches);
            let w = |o, tap| w[((first + o) * sizes.group_inputs + c) * sizes.taps + tap];
            add_product(sizes.outputs, sizes.taps, w, patches, y);
        }
    });
    Ok(())
}

/// `gx[n,c,..] = sum over o,p,q of w[o,c,p,q] * gy[n,o,..]` over the outputs whose tap `(p,q)` lies
/// on the input pixel: the transpose of [`conv2d_forward`]. Shapes as there.
///
/// # Errors
///
/// [`Error::Shape`] where a slice has another length than the geometry says.
pub fn conv2d_backward_input<T: Real>(
    geometry: &Conv2dGeometry,
    gy: &[T],
    w: &[T],
    gx: &mut [T],
) -> Result<()> {
    let sizes = Sizes::check(geometry, gx.len(), w.len(), gy.len())?;
    for_each_with(chunks(gx, sizes.inputs), || sizes.patches(), |patches, (plane, gx)| {
        let (image, channel) = (plane / geometry.in_channels, plane % geometry.in_channels);
        let (group, c) = (channel / sizes.group_inputs, channel % sizes.group_inputs);
        let first = group * sizes.group_outputs;
        let gy = &gy[(image * geometry.out_channels + first) * sizes.outputs..];
        let w = |tap, o| w[((first + o) * sizes.group_inputs + c) * sizes.taps + tap];
        patches.fill(T::zero());
        add_product(sizes.outputs, sizes.group_outputs, w, gy, patches);
        scatter_patches(geometry, patches, gx);
    });
    Ok(())
}

/// `gw[o,c,p,q] = sum over n,i,j of gy[n,o,i,j] * x[n,c, i*stride + p*dilation - padding, ..]`.
/// Shapes as in [`conv2d_forward`].
///
/// # Errors
///
/// [`Error::Shape`] where a slice has another length than the geometry says.
pub fn conv2d_backward_weight<T: Real>(
    geometry: &Conv2dGeometry,
    x: &[T],
    gy: &[T],
    gw: &mut [T],
) -> Result<()> {
    let sizes = Sizes::check(geometry, x.len(), gw.len(), gy.len())?;
    let block = sizes.filter_block(16);
    let scratch = || (sizes.patches(), vec![T::zero(); block * sizes.taps]);
    let filters = chunks(gw, block * sizes.group_inputs * sizes.taps);
    for_each_with(filters, scratch, |(patches, sums), (at, gw)| {
        let first = at * block;
        for (c, channel) in sizes.inputs_of(first / sizes.group_outputs).enumerate() {
            sums.fill(T::zero());
            for image in 0..geometry.batch {
                let plane = image * geometry.in_channels + channel;
                gather_patches(geometry, &x[plane * sizes.inputs..][..sizes.inputs], patches);
                let gy = &gy[(image * geometry.out_channels + first) * sizes.outputs..];
                add_dots(sizes.taps, sizes.outputs, gy, patches, sums);
            }
            let filters = gw.chunks_exact_mut(sizes.group_inputs * sizes.taps);
            for (filter, sums) in filters.zip(sums.chunks_exact(sizes.taps)) {
                filter[c * sizes.taps..][..sizes.taps].copy_from_slice(sums);
            }
        }
    });
    Ok(())
}

/// `gb[o] = sum over n,i,j of gy[n,o,i,j]` for `gy (N, O, OH, OW)` and `gb (O)`.
///
/// # Errors
///
/// [`Error::Shape`] where a slice has another length than the geometry says.
pub fn conv2d_backward_bias<T: Real>(
    geometry: &Conv2dGeometry,
    gy: &[T],
    gb: &mut [T],
) -> Result<()> {
    let (channels, outputs) = (geometry.out_channels, geometry.out_size.area());
    check_length("conv2d output gradient", output_shape(geometry), gy.len())?;
    check_length("conv2d bias gradient", [channels], gb.len())?;
    for_each(gb.iter_mut().enumerate(), |(o, gb)| {
        let planes = (0..geometry.batch).map(|image| (image * channels + o) * outputs);
        *gb = planes.map(|at| gy[at..at + outputs].iter().copied().sum()).sum();
    });
    Ok(())
}

fn output_shape(geometry: &Conv2dGeometry) -> [usize; 4] {
    let (batch, channels, size) = (geometry.batch, geometry.out_channels, geometry.out_size);
    [batch, channels, size.height, size.width]
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
        let &Conv2dGeometry { batch, groups, in_channels, in_size, out_channels, .. } = geometry;
        let divides = |channels: usize| groups > 0 && channels.is_multiple_of(groups);
        if !divides(in_channels) || !divides(out_channels) {
            let expected = format!("input and output channels divisible by {groups} groups");
            return Err(Error::shape("conv2d", expected, format!("{in_channels}, {out_channels}")));
        }
        if geometry.stride.area() == 0 {
            return Err(Error::argument("conv2d stride", "must not be zero"));
        }
        check_length("conv2d input", [batch, in_channels, in_size.height, in_size.width], x)?;
        check_length("conv2d weight", geometry.weight_shape(), w)?;
        check_length("conv2d output", output_shape(geometry), y)?;
        Ok(Self {
            inputs: in_size.area(),
            outputs: geometry.out_size.area(),
            taps: geometry.kernel.area(),
            group_inputs: in_channels / groups,
            group_outputs: out_channels / groups,
        })
    }

    /// Memory for the patches of one plane, `(taps, outputs)`.
    fn patches<T: Real>(self) -> Vec<T> {
        vec![T::zero(); self.taps * self.outputs]
    }

    /// How many filters of a group share gathered patches, at most `most`.
    fn filter_block(self, most: usize) -> usize {
        (1..=most).rev().find(|&block| self.group_outputs.is_multiple_of(block)).unwrap_or(1)
    }

    /// The input channels of a group.
    fn inputs_of(self, group: usize) -> Range<usize> {
        group * self.group_inputs..(group + 1) * self.group_inputs
    }
}

/// Disjoint chunks with their numbers; none where the chunks are empty.
fn chunks<T>(slice: &mut [T], len: usize) -> impl Iterator<Item = (usize, &mut [T])> {
    slice.chunks_exact_mut(len.max(1)).enumerate()
}

/// Calls `visit(patch, columns, start)` for each tap of the filter and each row of outputs: `patch`
/// is where the row begins within the patches, `columns` which of its outputs find the tap inside
/// the image, `start` where in the plane the first of these finds it.
fn for_each_patch_row(
    geometry: &Conv2dGeometry,
    mut visit: impl FnMut(usize, Range<usize>, usize),
) {
    let &Conv2dGeometry { in_size, out_size, kernel, stride, padding, dilation, .. } = geometry;
    let [top, _, left, _] = padding.map(|extent| extent as isize);
    for p in 0..kernel.height {
        let down = (p * dilation.height) as isize - top;
        let rows = inside(out_size.height, stride.height, down, in_size.height);
        for q in 0..kernel.width {
            let right = (q * dilation.width) as isize - left;
            let columns = inside(out_size.width, stride.width, right, in_size.width);
            let first = (columns.start * stride.width) as isize + right;
            for i in rows.clone() {
                let row = (i * stride.height) as isize + down;
                let patch = (p * kernel.width + q) * out_size.area() + i * out_size.width;
                let start = row * in_size.width as isize + first;
                visit(patch, columns.clone(), start as usize);
            }
        }
    }
}

/// Copies the patches out of a plane. What lies in the padding stays as it is, zero.
fn gather_patches<T: Real>(geometry: &Conv2dGeometry, plane: &[T], patches: &mut [T]) {
    let stride = geometry.stride.width;
    for_each_patch_row(geometry, |patch, columns, start| {
        let patch = &mut patches[patch + columns.start..patch + columns.end];
        if stride == 1 {
            patch.copy_from_slice(&plane[start..start + patch.len()]);
        } else {
            let pixels = plane[start..].iter().step_by(stride);
            patch.iter_mut().zip(pixels).for_each(|(to, from)| *to = *from);
        }
    });
}

/// Sums the patches into the plane that they would be gathered from.
fn scatter_patches<T: Real>(geometry: &Conv2dGeometry, patches: &[T], plane: &mut [T]) {
    let stride = geometry.stride.width;
    plane.fill(T::zero());
    for_each_patch_row(geometry, |patch, columns, start| {
        let patch = &patches[patch + columns.start..patch + columns.end];
        if stride == 1 {
            add(&mut plane[start..start + patch.len()], patch);
        } else {
            let pixels = plane[start..].iter_mut().step_by(stride);
            pixels.zip(patch).for_each(|(to, from)| *to += *from);
        }
    });
}
