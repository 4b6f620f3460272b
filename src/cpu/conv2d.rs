//! Two-dimensional convolution. The twin of the `conv2d` kernels.
//!
//! As there, each pass is a matrix product over patches of the image: row `t` of the patches of a
//! plane holds, for every output pixel, the input pixel under the filter's tap `t`, or zero where
//! that lies in the padding. Patches are unfolded for one plane at a time, small enough for the
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
    let (outputs, scratch) = (chunks(y, block * sizes.outputs), || sizes.patches());
    for_each_with(outputs, scratch, |patches, (at, y)| {
        let (image, first) = (
            at * block / geometry.out_channels,
            at * block % geometry.out_channels,
        );
        for (o, y) in chunks(y, sizes.outputs) {
            y.fill(bias.map_or(T::zero(), |bias| bias[first + o]));
        }
        for (c, channel) in sizes.inputs_of(first / sizes.group_outputs).enumerate() {
            let plane = image * geometry.in_channels + channel;
            unfold(
                geometry,
                &x[plane * sizes.inputs..][..sizes.inputs],
                patches,
            );
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
    let (planes, scratch) = (chunks(gx, sizes.inputs), || sizes.patches());
    for_each_with(planes, scratch, |patches, (plane, gx)| {
        let (image, channel) = (plane / geometry.in_channels, plane % geometry.in_channels);
        let (group, c) = (channel / sizes.group_inputs, channel % sizes.group_inputs);
        let first = group * sizes.group_outputs;
        let gy = &gy[(image * geometry.out_channels + first) * sizes.outputs..];
        let w = |tap, o| w[((first + o) * sizes.group_inputs + c) * sizes.taps + tap];
        patches.fill(T::zero());
        add_product(sizes.outputs, sizes.group_outputs, w, gy, patches);
        fold(geometry, patches, gx);
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
                unfold(
                    geometry,
                    &x[plane * sizes.inputs..][..sizes.inputs],
                    patches,
                );
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
    sum_planes(geometry.batch, outputs, gy, gb);
    Ok(())
}

/// The sum over images and pixels of each channel of `(N, C, plane)`.
pub(super) fn sum_planes<T: Real>(batch: usize, plane: usize, values: &[T], sums: &mut [T]) {
    let channels = sums.len();
    for_each(sums.iter_mut().enumerate(), |(c, sum)| {
        let planes = (0..batch).map(|image| (image * channels + c) * plane);
        *sum = planes
            .map(|at| values[at..at + plane].iter().copied().sum())
            .sum();
    });
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
        let &Conv2dGeometry {
            batch,
            groups,
            in_channels,
            in_size,
            out_channels,
            ..
        } = geometry;
        let divides = |channels: usize| groups > 0 && channels.is_multiple_of(groups);
        if !divides(in_channels) || !divides(out_channels) {
            let expected = format!("input and output channels divisible by {groups} groups");
            return Err(Error::shape(
                "conv2d",
                expected,
                format!("{in_channels}, {out_channels}"),
            ));
        }
        let extents = [in_size, geometry.out_size, geometry.kernel, geometry.stride];
        if extents.iter().any(|size| size.area() == 0) {
            return Err(Error::argument(
                "conv2d",
                "extents and stride must not be zero",
            ));
        }
        check_length(
            "conv2d input",
            [batch, in_channels, in_size.height, in_size.width],
            x,
        )?;
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

    /// How many filters of a group share unfolded patches, at most `most`.
    fn filter_block(self, most: usize) -> usize {
        (1..=most)
            .rev()
            .find(|&block| self.group_outputs.is_multiple_of(block))
            .unwrap_or(1)
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
    for p in 0..kernel.height {
        let down = (p * dilation.height) as isize - top;
        let rows = inside(out_size.height, stride.height, down, in_size.height);
        for q in 0..kernel.width {
            let right = (q * dilation.width) as isize - left;
            let columns = inside(out_size.width, stride.width, right, in_size.width);
            if columns.is_empty() {
                continue;
            }
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
fn unfold<T: Real>(geometry: &Conv2dGeometry, plane: &[T], patches: &mut [T]) {
    let stride = geometry.stride.width;
    for_each_patch_row(geometry, |patch, columns, start| {
        let patch = &mut patches[patch + columns.start..patch + columns.end];
        if stride == 1 {
            patch.copy_from_slice(&plane[start..start + patch.len()]);
        } else {
            let pixels = plane[start..].iter().step_by(stride);
            patch
                .iter_mut()
                .zip(pixels)
                .for_each(|(to, from)| *to = *from);
        }
    });
}

/// Sums the patches into the plane that they would be unfolded from.
fn fold<T: Real>(geometry: &Conv2dGeometry, patches: &[T], plane: &mut [T]) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::{Conv2d, Padding};

    /// Small integers, whose sums are exact in any order.
    fn integers(len: usize, seed: usize) -> Vec<f32> {
        (0..len)
            .map(|i| ((i * 7 + i / 5 + seed * 5) % 11) as f32 - 5.0)
            .collect()
    }

    /// The definition: every product of the sum, as positions in the input, weights and output.
    fn for_each_term(g: &Conv2dGeometry, mut visit: impl FnMut(usize, usize, usize)) {
        let [_, group_inputs, kh, kw] = g.weight_shape();
        let (h, w) = (g.in_size.height as isize, g.in_size.width as isize);
        for y in 0..g.output_len() {
            let (n, o) = (
                y / g.out_size.area() / g.out_channels,
                y / g.out_size.area() % g.out_channels,
            );
            let (i, j) = (
                y / g.out_size.width % g.out_size.height,
                y % g.out_size.width,
            );
            for tap in 0..group_inputs * kh * kw {
                let (c, p, q) = (tap / (kh * kw), tap / kw % kh, tap % kw);
                let row =
                    (i * g.stride.height + p * g.dilation.height) as isize - g.padding[0] as isize;
                let column =
                    (j * g.stride.width + q * g.dilation.width) as isize - g.padding[2] as isize;
                if (0..h).contains(&row) && (0..w).contains(&column) {
                    let channel = o / (g.out_channels / g.groups) * group_inputs + c;
                    let plane = ((n * g.in_channels + channel) as isize * h + row) * w;
                    visit(
                        (plane + column) as usize,
                        o * group_inputs * kh * kw + tap,
                        y,
                    );
                }
            }
        }
    }

    #[test]
    fn every_pass_equals_the_definition() {
        let cases = [
            (1, [1, 1, 1], Conv2d::new(1, 1)),
            (2, [3, 9, 8], Conv2d::new(5, 3)),
            (
                2,
                [2, 7, 9],
                Conv2d::new(3, [2, 5]).stride([2, 1]).padding([0, 3, 2, 1]),
            ),
            (
                1,
                [4, 8, 8],
                Conv2d::new(6, 3).stride(2).padding(1).groups(2),
            ),
            (3, [6, 5, 6], Conv2d::new(6, 3).padding(1).groups(6)),
            (
                2,
                [2, 9, 11],
                Conv2d::new(4, [3, 2])
                    .dilation([2, 3])
                    .padding([2, 1])
                    .stride([1, 3]),
            ),
            (
                1,
                [3, 6, 7],
                Conv2d::new(2, 4).padding(Padding::Same).bias(false),
            ),
            (1, [2, 5, 5], Conv2d::new(2, 2).stride(4)), // the stride jumps over pixels
            (2, [1, 2, 3], Conv2d::new(2, 3).padding(4)), // windows that lie in the padding
            (2, [1, 20, 21], Conv2d::new(70, 5)),        // more filters than a block
        ];
        for (batch, input, conv) in cases {
            let g = conv.geometry(batch, &input.into()).unwrap();
            let (x, w) = (integers(g.input_len(), 1), integers(g.weight_len(), 2));
            let (gy, bias) = (integers(g.output_len(), 3), integers(g.out_channels, 4));
            let with_bias = |y: usize| bias[y / g.out_size.area() % g.out_channels];
            let mut expected_y: Vec<f32> = (0..g.output_len()).map(with_bias).collect();
            let (mut expected_gx, mut expected_gw) = (vec![0.0; x.len()], vec![0.0; w.len()]);
            for_each_term(&g, |at_x, at_w, at_y| {
                expected_y[at_y] += x[at_x] * w[at_w];
                expected_gx[at_x] += gy[at_y] * w[at_w];
                expected_gw[at_w] += gy[at_y] * x[at_x];
            });
            let mut expected_gb = vec![0.0; g.out_channels];
            for (at, gy) in gy.iter().enumerate() {
                expected_gb[at / g.out_size.area() % g.out_channels] += gy;
            }
            let mut y = vec![f32::NAN; g.output_len()];
            let [mut gx, mut gw, mut gb] = [&x, &w, &bias].map(|like| vec![f32::NAN; like.len()]);
            conv2d_forward(&g, &x, &w, Some(&bias), &mut y).unwrap();
            conv2d_backward_input(&g, &gy, &w, &mut gx).unwrap();
            conv2d_backward_weight(&g, &x, &gy, &mut gw).unwrap();
            conv2d_backward_bias(&g, &gy, &mut gb).unwrap();
            assert_eq!(y, expected_y, "forward {conv:?}");
            assert_eq!(gx, expected_gx, "backward input {conv:?}");
            assert_eq!(gw, expected_gw, "backward weight {conv:?}");
            assert_eq!(gb, expected_gb, "backward bias {conv:?}");
        }
    }

    #[test]
    fn a_small_case_equals_values_computed_by_hand() {
        let g = Conv2d::new(1, 2).geometry(1, &[1, 3, 3].into()).unwrap();
        let x = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0];
        let (w, gy) = ([1.0, 0.0, -1.0, 2.0], [1.0, 0.0, 0.0, 2.0]);
        let (mut y, mut gx, mut gw) = ([0.0; 4], [0.0; 9], [0.0; 4]);
        conv2d_forward(&g, &x, &w, Some(&[0.5]), &mut y).unwrap();
        assert_eq!(y, [7.5, 9.5, 13.5, 15.5]);
        conv2d_backward_input(&g, &gy, &w, &mut gx).unwrap();
        assert_eq!(gx, [1.0, 0.0, 0.0, -1.0, 4.0, 0.0, 0.0, -2.0, 4.0]);
        conv2d_backward_weight(&g, &x, &gy, &mut gw).unwrap();
        assert_eq!(gw, [11.0, 14.0, 20.0, 23.0]);
    }

    #[test]
    fn wrong_lengths_and_groups_are_refused() {
        let g = Conv2d::new(2, 2).geometry(1, &[2, 3, 3].into()).unwrap();
        let (x, w, mut y) = (vec![0.0f32; 18], vec![0.0; 16], vec![0.0; 8]);
        assert!(conv2d_forward(&g, &x, &w, None, &mut y).is_ok());
        assert!(conv2d_forward(&g, &x[1..], &w, None, &mut y).is_err());
        assert!(conv2d_forward(&g, &x, &w[1..], None, &mut y).is_err());
        assert!(conv2d_forward(&g, &x, &w, None, &mut y[1..]).is_err());
        assert!(conv2d_forward(&g, &x, &w, Some(&[0.0]), &mut y).is_err());
        for groups in [0, 3] {
            let g = Conv2dGeometry { groups, ..g };
            assert!(conv2d_forward(&g, &x, &w, None, &mut y).is_err());
        }
        let nothing = Conv2dGeometry {
            out_size: [0, 2].into(),
            ..g
        };
        assert!(conv2d_backward_weight(&nothing, &x, &[], &mut [0.0; 16]).is_err());
    }
}
