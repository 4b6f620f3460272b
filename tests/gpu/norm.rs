//! The kernels of src/gpu/kernels/norm.rs.

mod batch;
mod layer;

use wgpu_cnn::{BatchNorm, LayerNorm, ops};

use crate::common::{poisoned_gpus, tensor};
use crate::errors::assert_error;

/// The longest chain of additions in a sum over so many values by the 64 invocations of a workgroup,
/// and the roundings around it, of which a division counts as three and a square root as four.
fn chain(values: usize) -> usize {
    values.div_ceil(64) + 16
}

/// Numbers around 1 and around -1, so that no gamma hides an error.
fn scales(rng: &mut fastrand::Rng, len: usize) -> Vec<f32> {
    (0..len)
        .map(|_| (0.5 + rng.f32()) * if rng.bool() { 1.0 } else { -1.0 })
        .collect()
}

#[test]
fn what_does_not_fit_is_refused() {
    for (_, gpu) in poisoned_gpus() {
        let of = |shape: &[usize]| tensor(gpu, shape, &vec![1.0; shape.iter().product()]);
        let (x, two, three, norm) = (of(&[1, 3]), of(&[2]), of(&[3]), BatchNorm::new());
        let rows = of(&[4, 3]);
        let batch = |x, gamma| ops::batch_norm_forward(x, [gamma, &three], [&three; 2], &norm);
        // As PyTorch refuses it.
        let words = ["more than one value per channel"];
        assert_error(batch(&x, &three), "shape", &words);
        let words = ["batch_norm parameter", "[3]", "[2]"];
        assert_error(batch(&rows, &two), "shape", &words);
        let evaluated = ops::batch_norm_forward_evaluation(&x, [&three; 2], [&three, &two], &norm);
        assert_error(evaluated, "shape", &words);
        let wrong = ops::batch_norm_backward(&rows, &three, &of(&[3, 1]), &rows, &norm);
        assert_error(wrong, "shape", &["statistics", "[3, 2]", "[3, 1]"]);
        let wrong = ops::layer_norm_forward(&rows, [&three, &two], &LayerNorm::new());
        assert_error(wrong, "shape", &["beta", "[3]", "[2]"]);
        let wrong = ops::layer_norm_backward(&rows, &three, &of(&[4, 2]), &x);
        assert_error(wrong, "shape", &["output gradient", "[4, 3]", "[1, 3]"]);
    }
}
