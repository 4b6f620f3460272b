//! Values so large that their squares overflow `f32`: what PyTorch makes of them.

use wgpu_cnn::op::BatchNormGeometry;
use wgpu_cnn::{Linear, Loss, Model, Optimizer, Reference, Target, cpu};

/// Two channels, of `(1, -1, 0, 2) * 1e30` and of ones times 1e30.
const X: [f32; 8] = [1e30, -1e30, 1e30, 1e30, 0.0, 2e30, 1e30, 1e30];
const G: BatchNormGeometry = BatchNormGeometry {
    batch: 2,
    channels: 2,
    plane: 2,
};

#[test]
fn a_variance_beyond_f32_leaves_beta_and_no_gradient() {
    let (mut mean, mut variance, mut y) = ([f32::NAN; 2], [f32::NAN; 2], [f32::NAN; 8]);
    cpu::batch_norm_moments(&G, &X, &mut mean, &mut variance).unwrap();
    assert_eq!((mean, variance), ([0.5e30, 1e30], [f32::INFINITY, 0.0]));
    let (gamma, beta, gy) = (
        [6.0, 1.0],
        [0.5, -1.0],
        [1.0, -2.0, 3.0, 4.0, 1e10, 6.0, 7.0, 8.0],
    );
    cpu::batch_norm_forward(&G, 1e-5, &X, &mean, &variance, &gamma, &beta, &mut y).unwrap();
    assert_eq!(y, [0.5, 0.5, -1.0, -1.0, 0.5, 0.5, -1.0, -1.0]);
    let (mut ggamma, mut gbeta, mut gx) = ([f32::NAN; 2], [f32::NAN; 2], [f32::NAN; 8]);
    cpu::batch_norm_backward_parameters(
        &G,
        1e-5,
        &X,
        &mean,
        &variance,
        &gy,
        &mut ggamma,
        &mut gbeta,
    )
    .unwrap();
    assert_eq!((ggamma, gbeta), ([0.0, 0.0], [1e10 + 5.0, 22.0]));
    cpu::batch_norm_backward_input(
        &G, 1e-5, &X, &mean, &variance, &gamma, &ggamma, &gbeta, &gy, &mut gx,
    )
    .unwrap();
    assert_eq!([gx[0], gx[1], gx[4], gx[5]], [0.0; 4]);
    let (mut running_mean, mut running_variance) = ([0.0; 2], [1.0; 2]);
    let running = (&mut running_mean, &mut running_variance);
    cpu::batch_norm_update_running(&G, 0.5, &mean, &variance, running.0, running.1).unwrap();
    assert_eq!(running_mean, [0.25e30, 0.5e30]);
    assert_eq!(running_variance, [f32::INFINITY, 0.5]);

    let ones = [1.0f32; 4];
    cpu::layer_norm_forward(2, 1e-5, &X, &ones, &ones, &mut y).unwrap();
    assert_eq!(y, [1.0; 8]);
    cpu::layer_norm_backward_input(2, 1e-5, &X, &ones, &gy, &mut gx).unwrap();
    assert_eq!(gx, [0.0; 8]);
}

#[test]
fn what_is_not_finite_makes_its_channel_nan() {
    for odd in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let x = [odd, 1.0, 2.0, 2.0, 1.0, 3.0, 2.0, 2.0];
        let (mut mean, mut variance, mut y) = ([0.0; 2], [0.0; 2], [0.0; 8]);
        cpu::batch_norm_moments(&G, &x, &mut mean, &mut variance).unwrap();
        cpu::batch_norm_forward(&G, 1e-5, &x, &mean, &variance, &[1.0; 2], &[0.5; 2], &mut y)
            .unwrap();
        assert!([y[0], y[1], y[4], y[5]].iter().all(|y| y.is_nan()), "{y:?}");
        assert_eq!([y[2], y[3], y[6], y[7]], [0.5; 4]);
    }
}

#[test]
fn gradients_whose_squares_overflow_are_clipped() {
    let layer = Linear::new(1).bias(false);
    let model = Model::builder([1]).push(layer).build().unwrap();
    let loss = Loss::mean_squared_error();
    let mut reference = Reference::<f32>::new(&model, loss, Optimizer::sgd(0.5), 3).unwrap();
    reference.set_clip_norm(Some(1.0)).unwrap();
    // Gradients of 2e20 and 2e38.
    for x in [1e10, 1e19] {
        reference.set_parameter("0.weight", &[1.0]).unwrap();
        reference.step(&[x], &Target::from(&[0.0f32])).unwrap();
        let updated = reference.parameter("0.weight").unwrap();
        approx::assert_abs_diff_eq!(updated[0], 0.5, epsilon = 1e-6);
    }
}
