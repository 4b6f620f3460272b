//! Channels laid out as pixels, and pixels as channels. The twin of the kernel `pixel_shuffle`.

use super::parallel::for_each;
use super::{Real, check_length};
use crate::Result;
use crate::op::{PixelShuffleGeometry, Size2};

/// `y[plane, h*r + i, w*r + j] = x[plane, i, j, h, w]` for `x (planes, r, r, H, W)` and
/// `y (planes, H * r, W * r)`. The gradient of [`pixel_unshuffle`].
///
/// # Errors
///
/// [`Error::Shape`](crate::Error::Shape) where a slice has another length than the geometry says.
pub fn pixel_shuffle<T: Real>(geometry: &PixelShuffleGeometry, x: &[T], y: &mut [T]) -> Result<()> {
    let area = check("pixel_shuffle", geometry, x.len(), y.len())?;
    let planes = x.chunks_exact(area).zip(y.chunks_exact_mut(area));
    for_each(planes, |(x, y)| {
        places(geometry).zip(x).for_each(|(at, &x)| y[at] = x);
    });
    Ok(())
}

/// `y[plane, i, j, h, w] = x[plane, h*r + i, w*r + j]` for `x (planes, H * r, W * r)` and
/// `y (planes, r, r, H, W)`. The gradient of [`pixel_shuffle`].
///
/// # Errors
///
/// Those of [`pixel_shuffle`].
pub fn pixel_unshuffle<T: Real>(
    geometry: &PixelShuffleGeometry,
    x: &[T],
    y: &mut [T],
) -> Result<()> {
    let area = check("pixel_unshuffle", geometry, x.len(), y.len())?;
    let planes = x.chunks_exact(area).zip(y.chunks_exact_mut(area));
    for_each(planes, |(x, y)| {
        places(geometry).zip(y).for_each(|(at, y)| *y = x[at]);
    });
    Ok(())
}

/// Where the elements of `(r, r, H, W)` are in `(H * r, W * r)`, in their order.
fn places(geometry: &PixelShuffleGeometry) -> impl Iterator<Item = usize> {
    let &PixelShuffleGeometry {
        size: Size2 { height, width },
        factor,
        ..
    } = geometry;
    let offsets = (0..factor).flat_map(move |i| (0..factor).map(move |j| (i, j)));
    offsets.flat_map(move |(i, j)| {
        let row = move |h: usize| (h * factor + i) * width * factor + j;
        (0..height).flat_map(move |h| (0..width).map(move |w| row(h) + w * factor))
    })
}

/// Elements of a plane, if the slices have the lengths that they should.
fn check(name: &str, geometry: &PixelShuffleGeometry, x: usize, y: usize) -> Result<usize> {
    geometry.check(name)?;
    let Size2 { height, width } = geometry.large_size();
    let shape = [geometry.planes, height, width];
    check_length(&format!("{name} input"), shape, x)?;
    check_length(&format!("{name} output"), shape, y)?;
    Ok(height * width)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::op::PixelShuffle;

    #[test]
    fn each_channel_of_a_block_goes_to_its_pixel_and_back() {
        let geometry = PixelShuffle::new(2).geometry(1, &[4, 1, 2].into()).unwrap();
        let x = [0.0f32, 1.0, 10.0, 11.0, 20.0, 21.0, 30.0, 31.0];
        let (mut y, mut back) = ([f32::NAN; 8], [f32::NAN; 8]);
        pixel_shuffle(&geometry, &x, &mut y).unwrap();
        assert_eq!(y, [0.0, 10.0, 1.0, 11.0, 20.0, 30.0, 21.0, 31.0]);
        pixel_unshuffle(&geometry, &y, &mut back).unwrap();
        assert_eq!(back, x);
        assert!(pixel_shuffle(&geometry, &x[1..], &mut y).is_err());
        assert!(pixel_unshuffle(&geometry, &x, &mut y[1..]).is_err());
    }
}
