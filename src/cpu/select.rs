//! Ranges along an axis, and channels in another order. The twin of the `select` kernels.

use std::ops::Range;

use super::parallel::for_each;
use super::{Real, check_length};
use crate::op::{ChannelShuffle, SelectGeometry, check_index};
use crate::{Error, Result};

/// `y (outer, range, inner)`: a range of the middle axis of `x (outer, extent, inner)`.
///
/// # Errors
///
/// [`Error::Shape`] where a slice has another length than the geometry says, or the range is none of the
/// axis.
pub fn slice_forward<T: Real>(
    geometry: &SelectGeometry,
    range: Range<usize>,
    x: &[T],
    y: &mut [T],
) -> Result<()> {
    check_slice(geometry, &range, [x.len(), y.len()])?;
    let &SelectGeometry { extent, inner, .. } = geometry;
    if y.is_empty() {
        return Ok(());
    }
    let rows = y.chunks_exact_mut(range.len() * inner);
    for_each(x.chunks_exact(extent * inner).zip(rows), |(x, y)| {
        y.copy_from_slice(&x[range.start * inner..range.end * inner]);
    });
    Ok(())
}

/// The gradient of the input of [`slice_forward`]: zero outside of the range.
///
/// # Errors
///
/// Those of [`slice_forward`].
pub fn slice_backward<T: Real>(
    geometry: &SelectGeometry,
    range: Range<usize>,
    gy: &[T],
    gx: &mut [T],
) -> Result<()> {
    check_slice(geometry, &range, [gx.len(), gy.len()])?;
    let &SelectGeometry { extent, inner, .. } = geometry;
    if gx.is_empty() {
        return Ok(());
    }
    if gy.is_empty() {
        gx.fill(T::zero());
        return Ok(());
    }
    let rows = gy.chunks_exact(range.len() * inner);
    for_each(gx.chunks_exact_mut(extent * inner).zip(rows), |(gx, gy)| {
        gx.fill(T::zero());
        gx[range.start * inner..range.end * inner].copy_from_slice(gy);
    });
    Ok(())
}

fn check_slice(geometry: &SelectGeometry, range: &Range<usize>, lens: [usize; 2]) -> Result<()> {
    if range.start > range.end || range.end > geometry.extent {
        let expected = format!("a range within 0..{}", geometry.extent);
        return Err(Error::shape("slice", expected, format!("{range:?}")));
    }
    check_extents("slice", geometry, [geometry.extent, range.len()], lens)
}

/// The lengths of a value before and after, whose middle axis has these extents.
fn check_extents(
    name: &str,
    geometry: &SelectGeometry,
    [before, after]: [usize; 2],
    [from, to]: [usize; 2],
) -> Result<()> {
    let &SelectGeometry { outer, inner, .. } = geometry;
    check_length(&format!("{name} input"), [outer, before, inner], from)?;
    check_length(&format!("{name} output"), [outer, after, inner], to)
}

/// `y (N, index, plane)`: of `x (N, C, plane)` the channels with these numbers. `outer` is the batch.
///
/// # Errors
///
/// [`Error::Shape`] where a slice has another length than the geometry says, or a number is not that of a
/// channel.
pub fn channel_permute_forward<T: Real>(
    geometry: &SelectGeometry,
    index: &[usize],
    x: &[T],
    y: &mut [T],
) -> Result<()> {
    let &SelectGeometry { extent, inner, .. } = geometry;
    check_index(index, extent)?;
    let lens = [x.len(), y.len()];
    check_extents("channel_permute", geometry, [extent, index.len()], lens)?;
    if y.is_empty() {
        return Ok(());
    }
    let images = y.chunks_exact_mut(index.len() * inner);
    for_each(x.chunks_exact(extent * inner).zip(images), |(x, y)| {
        for (&channel, y) in index.iter().zip(y.chunks_exact_mut(inner)) {
            y.copy_from_slice(&x[channel * inner..][..inner]);
        }
    });
    Ok(())
}

/// The gradient of the input of [`channel_permute_forward`]: the sum over the places of a channel, in their
/// order.
///
/// # Errors
///
/// Those of [`channel_permute_forward`].
pub fn channel_permute_backward<T: Real>(
    geometry: &SelectGeometry,
    index: &[usize],
    gy: &[T],
    gx: &mut [T],
) -> Result<()> {
    let &SelectGeometry { extent, inner, .. } = geometry;
    check_index(index, extent)?;
    let lens = [gx.len(), gy.len()];
    check_extents("channel_permute", geometry, [extent, index.len()], lens)?;
    if gx.is_empty() {
        return Ok(());
    }
    let images = gy.chunks_exact(index.len() * inner);
    for_each(
        gx.chunks_exact_mut(extent * inner).zip(images),
        |(gx, gy)| {
            let mut sums = vec![None; extent * inner];
            for (&channel, gy) in index.iter().zip(gy.chunks_exact(inner)) {
                let sums = &mut sums[channel * inner..][..inner];
                for (sum, gy) in sums.iter_mut().zip(gy) {
                    // The first as it is: a zero keeps its sign.
                    *sum = Some(sum.map_or(gy.wide(), |sum: f64| sum + gy.wide()));
                }
            }
            let sums = gx.iter_mut().zip(sums);
            sums.for_each(|(gx, sum)| *gx = sum.map_or(T::zero(), T::nearest));
        },
    );
    Ok(())
}

/// The channels of `x (N, C, plane)` as a matrix `(groups, C / groups)`, transposed.
///
/// # Errors
///
/// [`Error::Shape`] where a slice has another length than the geometry says, or the groups do not divide
/// the channels.
pub fn channel_shuffle_forward<T: Real>(
    geometry: &SelectGeometry,
    groups: usize,
    x: &[T],
    y: &mut [T],
) -> Result<()> {
    let index = shuffled(geometry, groups, [x.len(), y.len()])?;
    match index.is_empty() {
        true => Ok(()),
        false => channel_permute_forward(geometry, &index, x, y),
    }
}

/// The gradient of the input of [`channel_shuffle_forward`].
///
/// # Errors
///
/// Those of [`channel_shuffle_forward`].
pub fn channel_shuffle_backward<T: Real>(
    geometry: &SelectGeometry,
    groups: usize,
    gy: &[T],
    gx: &mut [T],
) -> Result<()> {
    let index = shuffled(geometry, groups, [gx.len(), gy.len()])?;
    match index.is_empty() {
        true => Ok(()),
        false => channel_permute_backward(geometry, &index, gy, gx),
    }
}

/// The input's channel for each of the output's; none where there are no elements, and so no slice that
/// says how many channels are too many.
fn shuffled(geometry: &SelectGeometry, groups: usize, lens: [usize; 2]) -> Result<Vec<usize>> {
    ChannelShuffle::new(groups).check(geometry.extent)?;
    let extents = [geometry.extent; 2];
    check_extents("channel_shuffle", geometry, extents, lens)?;
    if lens == [0, 0] {
        return Ok(vec![]);
    }
    let of_group = geometry.extent / groups;
    let of = |channel: usize| channel % groups * of_group + channel / groups;
    Ok((0..geometry.extent).map(of).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const IMAGES: SelectGeometry = SelectGeometry {
        outer: 2,
        extent: 4,
        inner: 1,
    };

    /// In numbers that are not computed here.
    #[test]
    fn parts_are_taken_and_their_gradients_put_back() {
        let x = [0.0, 1.0, 2.0, 3.0, 10.0, 11.0, 12.0, 13.0];
        let (mut y, mut gx) = ([0.0; 8], [9.0; 8]);
        slice_forward(&IMAGES, 1..3, &x, &mut y[..4]).unwrap();
        assert_eq!(y[..4], [1.0, 2.0, 11.0, 12.0]);
        slice_backward(&IMAGES, 1..3, &y[..4], &mut gx).unwrap();
        assert_eq!(gx, [0.0, 1.0, 2.0, 0.0, 0.0, 11.0, 12.0, 0.0]);
        channel_shuffle_forward(&IMAGES, 2, &x, &mut y).unwrap();
        assert_eq!(y, [0.0, 2.0, 1.0, 3.0, 10.0, 12.0, 11.0, 13.0]);
        channel_shuffle_backward(&IMAGES, 2, &y, &mut gx).unwrap();
        assert_eq!(gx, x);
        let index = [3, 0, 3];
        channel_permute_forward(&IMAGES, &index, &x, &mut y[..6]).unwrap();
        assert_eq!(y[..6], [3.0, 0.0, 3.0, 13.0, 10.0, 13.0]);
        let gy = [1.0, 2.0, 4.0, 10.0, 20.0, 40.0];
        channel_permute_backward(&IMAGES, &index, &gy, &mut gx).unwrap();
        assert_eq!(gx, [2.0, 0.0, 0.0, 5.0, 20.0, 0.0, 0.0, 50.0]);
    }

    #[test]
    fn what_is_no_part_of_the_input_is_refused() {
        let (x, mut y) = ([1.0f32; 8], [0.0; 8]);
        #[allow(clippy::reversed_empty_ranges)]
        for range in [0..5, 3..2, 2..usize::MAX] {
            assert!(slice_forward(&IMAGES, range.clone(), &x, &mut y).is_err());
            assert!(slice_backward(&IMAGES, range, &x, &mut y).is_err());
        }
        assert!(slice_forward(&IMAGES, 0..2, &x, &mut y).is_err());
        assert!(channel_permute_forward(&IMAGES, &[4], &x, &mut y[..2]).is_err());
        assert!(channel_permute_forward(&IMAGES, &[], &x, &mut []).is_err());
        assert!(channel_shuffle_forward(&IMAGES, 3, &x, &mut y).is_err());
        assert!(channel_shuffle_forward(&IMAGES, 0, &x, &mut y).is_err());
        let none = SelectGeometry {
            extent: usize::MAX,
            inner: 0,
            ..IMAGES
        };
        channel_shuffle_forward::<f32>(&none, 1, &[], &mut []).unwrap();
        slice_backward::<f32>(&none, 0..9, &[], &mut []).unwrap();
        channel_permute_backward::<f32>(&none, &[7], &[], &mut []).unwrap();
        slice_backward(&IMAGES, 2..2, &[], &mut y).unwrap();
    }
}
