//! Values so large that their squares overflow `f32`: what PyTorch makes of them.

use wgpu_cnn::op::{BatchNormGeometry, GlobalPool};
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

/// The outputs and all gradients of both normalisations of a channel, which is a row.
fn normalised<T: cpu::Real>(x: &[T; 4], gy: &[T; 4]) -> [Vec<T>; 2] {
    let geometry = BatchNormGeometry {
        batch: 4,
        channels: 1,
        plane: 1,
    };
    let (nan, one, half) = (T::nan(), T::nearest(1.0), T::nearest(0.5));
    let (mut mean, mut variance, mut y) = ([nan], [nan], [nan; 4]);
    cpu::batch_norm_moments(&geometry, x, &mut mean, &mut variance).unwrap();
    cpu::batch_norm_forward(
        &geometry,
        1e-5,
        x,
        &mean,
        &variance,
        &[one],
        &[half],
        &mut y,
    )
    .unwrap();
    let (mut ggamma, mut gbeta, mut gx) = ([nan], [nan], [nan; 4]);
    cpu::batch_norm_backward_parameters(
        &geometry,
        1e-5,
        x,
        &mean,
        &variance,
        gy,
        &mut ggamma,
        &mut gbeta,
    )
    .unwrap();
    cpu::batch_norm_backward_input(
        &geometry,
        1e-5,
        x,
        &mean,
        &variance,
        &[one],
        &ggamma,
        &gbeta,
        gy,
        &mut gx,
    )
    .unwrap();
    let batch = [&y[..], &ggamma, &gx].concat();
    let (mut ggamma, mut gbeta) = ([nan; 4], [nan; 4]);
    cpu::layer_norm_forward(1, 1e-5, x, &[one; 4], &[half; 4], &mut y).unwrap();
    cpu::layer_norm_backward_parameters(1, 1e-5, x, gy, &mut ggamma, &mut gbeta).unwrap();
    cpu::layer_norm_backward_input(1, 1e-5, x, &[one; 4], gy, &mut gx).unwrap();
    [batch, [&y[..], &ggamma, &gx].concat()]
}

#[test]
fn a_difference_beyond_the_type_leaves_beta_and_no_gradient() {
    let most = f32::MAX;
    let [batch, layer] = normalised(&[most, most, most, -most], &[1.0, -2.0, 3.0, 4.0]);
    assert_eq!(batch, [&[0.5; 4][..], &[0.0; 5]].concat());
    assert_eq!(layer, [&[0.5; 4][..], &[0.0; 8]].concat());
    let most = 0.5 * f64::MAX;
    let [batch, layer] = normalised(&[-most, most, 1.0, -1.0], &[1.0, -2.0, 3.0, 4.0]);
    assert_eq!(batch, [&[0.5; 4][..], &[0.0; 5]].concat());
    assert_eq!(layer, [&[0.5; 4][..], &[0.0; 8]].concat());
    for odd in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        for values in normalised(&[odd, f32::MAX, -f32::MAX, 1.0], &[1.0, -2.0, 3.0, 4.0]) {
            assert!(values.iter().all(|value| value.is_nan()), "{values:?}");
        }
    }
    // Moments that the input does not have.
    let mut y = [f32::NAN; 8];
    let x = [f32::MAX; 8];
    cpu::batch_norm_forward(
        &G,
        0.0,
        &x,
        &[-f32::MAX; 2],
        &[16.0, 1.0],
        &[1.0; 2],
        &[0.0; 2],
        &mut y,
    )
    .unwrap();
    assert_eq!(
        y[..4],
        [f32::MAX / 2.0, f32::MAX / 2.0, f32::INFINITY, f32::INFINITY]
    );
}

#[test]
fn what_has_no_weight_adds_nothing_to_a_softmax_pool() {
    let geometry = GlobalPool::Softmax.geometry(1, &[1, 1, 2].into()).unwrap();
    let pooled = |x: [f32; 2]| {
        let (mut y, mut gx) = ([f32::NAN], [f32::NAN; 2]);
        cpu::softmax_pool_forward(&geometry, &x, &mut y).unwrap();
        cpu::softmax_pool_backward(&geometry, &x, &[3.0], &mut gx).unwrap();
        (y[0], gx)
    };
    assert_eq!(pooled([f32::MAX, -f32::MAX]), (f32::MAX, [3.0, 0.0]));
    assert_eq!(pooled([f32::NEG_INFINITY, 0.0]), (0.0, [0.0, 3.0]));
    for odd in [
        [f32::NAN, 0.0],
        [f32::INFINITY, 0.0],
        [f32::NEG_INFINITY; 2],
    ] {
        let (y, gx) = pooled(odd);
        assert!(
            y.is_nan() && gx.iter().all(|gx| gx.is_nan()),
            "{odd:?} {y} {gx:?}"
        );
    }
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
        reference.step(&[x], Target::from(&[0.0f32])).unwrap();
        let updated = reference.parameter("0.weight").unwrap();
        approx::assert_abs_diff_eq!(updated[0], 0.5, epsilon = 1e-6);
    }
}
