//! The kernels of src/gpu/kernels/norm/.

mod batch;
mod groups;
mod layer;
mod statistics;

use wgpu_cnn::{BatchNorm, GroupNorm, InstanceNorm, LayerNorm, LayerNormChannels, ops};

use crate::common::{assert_error, poisoned_gpus, tensor};

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
        assert_error(batch(&rows, &two), "shape", &["gamma", "[3]", "[2]"]);
        let evaluated = ops::batch_norm_forward_evaluation(&x, [&three; 2], [&three, &two], &norm);
        assert_error(evaluated, "shape", &["running variance", "[3]", "[2]"]);
        let missing = ops::batch_norm_forward_evaluation(&x, None, [&three; 2], &norm);
        assert_error(
            missing,
            "argument",
            &["batch_norm", "gamma and beta are missing"],
        );
        let counted = ops::batch_norm_forward(&rows, [&three; 2], [&three; 3], &norm);
        assert_error(
            counted,
            "argument",
            &["batch_norm", "2 running statistics, not 3"],
        );
        let without = norm.affine(false);
        let given = ops::batch_norm_backward(&rows, &three, &of(&[3, 2]), &rows, &without);
        assert_error(given, "argument", &["batch_norm", "without gamma and beta"]);
        let thirds = ops::group_norm_forward(&rows, [&three; 2], &GroupNorm::new(2));
        assert_error(
            thirds,
            "shape",
            &["group_norm", "channels in 2 equal groups", "3"],
        );
        let single = ops::group_norm_forward(&rows, None, &InstanceNorm::new().into());
        assert_error(
            single,
            "shape",
            &["instance_norm", "more than one position"],
        );
        let channels = LayerNormChannels::new();
        let wrong = ops::layer_norm_channels_forward(&of(&[2, 3, 4]), [&three, &two], &channels);
        assert_error(wrong, "shape", &["beta", "[3]", "[2]"]);
        let wrong = ops::batch_norm_backward(&rows, &three, &of(&[3, 1]), &rows, &norm);
        assert_error(wrong, "shape", &["statistics", "[3, 2]", "[3, 1]"]);
        let wrong = ops::layer_norm_forward(&rows, [&three, &two], &LayerNorm::new());
        assert_error(wrong, "shape", &["beta", "[3]", "[2]"]);
        let wrong = ops::layer_norm_backward(&rows, &three, &of(&[4, 2]), &x);
        assert_error(wrong, "shape", &["output gradient", "[4, 3]", "[1, 3]"]);
    }
}
