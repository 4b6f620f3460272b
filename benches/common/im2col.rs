//! What a CPU library does: patches unfolded into a matrix, and the `gemm` crate's product. Here so
//! that the GPU is not compared with plain loops alone.

use gemm::Parallelism;
use rayon::prelude::*;
use wgpu_cnn::op::Conv2dGeometry;

/// `c = a b` for `a (m, k)` and `b (k, n)`.
pub fn matmul(
    [m, n, k]: [usize; 3],
    a: &[f32],
    b: &[f32],
    c: &mut [f32],
    parallelism: Parallelism,
) {
    assert_eq!([a.len(), b.len(), c.len()], [m * k, k * n, m * n]);
    let (a, b, c) = (a.as_ptr(), b.as_ptr(), c.as_mut_ptr());
    // Column and row strides of row-major matrices.
    let [
        (a_columns, a_rows),
        (b_columns, b_rows),
        (c_columns, c_rows),
    ] = [k, n, n].map(|width| (1, width as isize));
    // SAFETY: the slices hold as many elements as the extents and strides reach, as asserted, and
    // `c` is borrowed exclusively.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            c,
            c_columns,
            c_rows,
            false,
            a,
            a_columns,
            a_rows,
            b,
            b_columns,
            b_rows,
            0.0,
            1.0,
            false,
            false,
            false,
            parallelism,
        );
    }
}

/// A convolution without groups or dilation at stride 1, an image per task.
pub fn conv2d_forward(geometry: &Conv2dGeometry, x: &[f32], w: &[f32], y: &mut [f32]) {
    let inner = geometry.weight_len() / geometry.out_channels;
    let outputs = geometry.out_size.area();
    let inputs = geometry.in_channels * geometry.in_size.area();
    let images = x
        .par_chunks(inputs)
        .zip(y.par_chunks_mut(geometry.out_channels * outputs));
    // Padding stays zero from image to image.
    let patches = || vec![0.0; inner * outputs];
    images.for_each_init(patches, |patches, (x, y)| {
        unfold(geometry, x, patches);
        let extents = [geometry.out_channels, outputs, inner];
        matmul(extents, w, patches, y, Parallelism::None);
    });
}

/// The patches `(C * KH * KW, OH * OW)` of an image, row-wise.
fn unfold(geometry: &Conv2dGeometry, image: &[f32], patches: &mut [f32]) {
    let &Conv2dGeometry {
        in_size,
        out_size,
        kernel,
        padding,
        ..
    } = geometry;
    let [top, _, left, _] = padding;
    for (row, patch) in patches.chunks_exact_mut(out_size.area()).enumerate() {
        let (channel, tap) = (row / kernel.area(), row % kernel.area());
        let (p, q) = (tap / kernel.width, tap % kernel.width);
        let plane = &image[channel * in_size.area()..][..in_size.area()];
        // Outputs j whose tap, in column j + q - left, lies inside the image.
        let begin = left.saturating_sub(q);
        let end = out_size.width.min(in_size.width + left - q);
        for (i, out) in patch.chunks_exact_mut(out_size.width).enumerate() {
            if (top..in_size.height + top).contains(&(i + p)) {
                let start = (i + p - top) * in_size.width + begin + q - left;
                out[begin..end].copy_from_slice(&plane[start..start + end - begin]);
            }
        }
    }
}
