//! Group normalisation, layer normalisation over channels and local response normalisation on values that
//! are hard: of a large mean, all alike, not numbers.

use wgpu_cnn::op::GroupNorm;
use wgpu_cnn::{LayerNormChannels, LocalResponseNorm, cpu, ops};

use crate::common::{each_gpu, random, tensor, uniform, wide};

const SHAPE: [usize; 4] = [2, 6, 5, 4];
const LEN: usize = 240;

/// The output and the gradients of one of them on a device, and in `f64`.
type Sides = [Vec<Vec<f64>>; 2];

fn numbers(tensors: &[wgpu_cnn::Tensor]) -> Vec<Vec<f64>> {
    let read = |tensor: &wgpu_cnn::Tensor| wide(&tensor.to_vec().unwrap());
    tensors.iter().map(read).collect()
}

struct Data {
    x: Vec<f32>,
    gy: Vec<f32>,
    gamma: Vec<f32>,
    beta: Vec<f32>,
}

impl Data {
    fn of(x: Vec<f32>) -> Self {
        let rng = &mut random(37);
        let [gy, gamma, beta] = [LEN, 6, 6].map(|len| uniform(rng, len));
        Self { x, gy, gamma, beta }
    }

    fn wide(&self) -> [Vec<f64>; 4] {
        [&self.x, &self.gy, &self.gamma, &self.beta].map(|values| wide(values))
    }
}

fn group_norm(gpu: &wgpu_cnn::Gpu, data: &Data) -> Sides {
    let layer = GroupNorm::new(2);
    let [x, gy] = [&data.x, &data.gy].map(|values| tensor(gpu, SHAPE, values));
    let [gamma, beta] = [&data.gamma, &data.beta].map(|values| tensor(gpu, [6], values));
    let (y, kept) = ops::group_norm_forward(&x, [&gamma, &beta], &layer).unwrap();
    let gradients = ops::group_norm_backward(&x, &gamma, &kept, &gy, &layer).unwrap();
    let got = numbers(&[&[y][..], &gradients].concat());
    let ([x, gy, gamma, beta], e) = (data.wide(), layer.epsilon);
    let g = layer.geometry(2, &SHAPE[1..].into()).unwrap();
    let [mut y, mut gx] = [(); 2].map(|()| vec![0.0; LEN]);
    let [mut ggamma, mut gbeta] = [(); 2].map(|()| vec![0.0; 6]);
    cpu::group_norm_forward(&g, e, &x, &gamma, &beta, &mut y).unwrap();
    cpu::group_norm_backward_input(&g, e, &x, &gamma, &gy, &mut gx).unwrap();
    cpu::group_norm_backward_parameters(&g, e, &x, &gy, &mut ggamma, &mut gbeta).unwrap();
    [got, vec![y, gx, ggamma, gbeta]]
}

fn layer_norm_channels(gpu: &wgpu_cnn::Gpu, data: &Data) -> Sides {
    let layer = LayerNormChannels::new().epsilon(1e-6);
    let [x, gy] = [&data.x, &data.gy].map(|values| tensor(gpu, SHAPE, values));
    let [gamma, beta] = [&data.gamma, &data.beta].map(|values| tensor(gpu, [6], values));
    let (y, kept) = ops::layer_norm_channels_forward(&x, [&gamma, &beta], &layer).unwrap();
    let gradients = ops::layer_norm_channels_backward(&x, &gamma, &kept, &gy, &layer).unwrap();
    let got = numbers(&[&[y][..], &gradients].concat());
    let ([x, gy, gamma, beta], e, g) = (data.wide(), layer.epsilon, [2, 6, 20]);
    let [mut y, mut gx] = [(); 2].map(|()| vec![0.0; LEN]);
    let [mut ggamma, mut gbeta] = [(); 2].map(|()| vec![0.0; 6]);
    cpu::layer_norm_channels_forward(g, e, &x, &gamma, &beta, &mut y).unwrap();
    cpu::layer_norm_channels_backward_input(g, e, &x, &gamma, &gy, &mut gx).unwrap();
    let to = (&mut ggamma, &mut gbeta);
    cpu::layer_norm_channels_backward_parameters(g, e, &x, &gy, to.0, to.1).unwrap();
    [got, vec![y, gx, ggamma, gbeta]]
}

fn local_response_norm(gpu: &wgpu_cnn::Gpu, data: &Data, beta: f64) -> Sides {
    let layer = LocalResponseNorm::new(3).alpha(0.5).beta(beta);
    let [x, gy] = [&data.x, &data.gy].map(|values| tensor(gpu, SHAPE, values));
    let (y, kept) = ops::local_response_norm_forward(&x, &layer).unwrap();
    let gx = ops::local_response_norm_backward(&x, &kept, &gy, &layer).unwrap();
    let got = numbers(&[y, gx]);
    let ([x, gy, ..], g) = (data.wide(), [2, 6, 20]);
    let [mut y, mut gx] = [(); 2].map(|()| vec![0.0; LEN]);
    cpu::local_response_norm_forward(g, &layer, &x, &mut y).unwrap();
    cpu::local_response_norm_backward(g, &layer, &x, &gy, &mut gx).unwrap();
    [got, vec![y, gx]]
}

/// Not numbers match by kind; numbers are within this share of the largest.
fn same(name: &str, [got, expected]: Sides, share: f64) {
    for (at, (got, expected)) in got.iter().zip(&expected).enumerate() {
        let finite = expected.iter().filter(|value| value.is_finite());
        let largest = finite.fold(0f64, |most, value| most.max(value.abs()));
        for (i, (got, expected)) in got.iter().zip(expected).enumerate() {
            let near = match expected.is_finite() {
                true => (got - expected).abs() <= share * largest + 1e-7,
                false => got.is_nan() == expected.is_nan() && (got == expected || got.is_nan()),
            };
            assert!(near, "{name}, result {at}[{i}]: {got}, not {expected}");
        }
    }
}

#[test]
fn a_large_mean_costs_no_more_digits_than_its_rounding() {
    let x = uniform(&mut random(41), LEN);
    // Whole numbers of 1/1024, so that the sums hold what they lose.
    let x: Vec<f32> = x
        .iter()
        .map(|x| 1000.0 + (x * 1024.0).round() / 1024.0)
        .collect();
    let data = Data::of(x);
    for (device, gpu) in each_gpu() {
        // The mean rounds to 3e-5.
        same(&format!("group, {device}"), group_norm(gpu, &data), 3e-4);
        let channels = layer_norm_channels(gpu, &data);
        same(&format!("channels, {device}"), channels, 3e-3);
    }
}

#[test]
fn values_that_are_all_alike_give_beta() {
    let data = Data::of(vec![3.5; LEN]);
    for (device, gpu) in each_gpu() {
        same(&format!("group, {device}"), group_norm(gpu, &data), 1e-5);
        let channels = layer_norm_channels(gpu, &data);
        same(&format!("channels, {device}"), channels, 1e-5);
    }
}

#[test]
fn what_is_no_number_reaches_what_is_normalised_with_it_and_nothing_else() {
    for odd in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut x = uniform(&mut random(43), LEN);
        (x[7], x[150]) = (odd, -odd);
        let data = Data::of(x);
        for (device, gpu) in each_gpu() {
            let name = |what: &str| format!("{what}, {odd}, {device}");
            same(&name("group"), group_norm(gpu, &data), 1e-5);
            same(&name("channels"), layer_norm_channels(gpu, &data), 1e-5);
            same(
                &name("response"),
                local_response_norm(gpu, &data, 0.75),
                1e-5,
            );
            same(&name("power"), local_response_norm(gpu, &data, 0.6), 3e-5);
        }
    }
}

#[test]
fn what_is_normalised_by_itself_is_beta_and_has_no_gradient() {
    let (gamma, beta) = ([3.0, -0.7, 1.3], [0.5, -1.0, 0.1]);
    let mut rng = random(47);
    let [x, gy] = [(); 2].map(|()| uniform(&mut rng, 6));
    for (device, gpu) in each_gpu() {
        let [gamma, beta] = [gamma, beta].map(|values| tensor(gpu, [3], &values));
        let [rows, gy_rows] = [&x, &gy].map(|values| tensor(gpu, [2, 3], values));
        let layer = GroupNorm::new(3);
        let (y, kept) = ops::group_norm_forward(&rows, [&gamma, &beta], &layer).unwrap();
        assert_eq!(
            y.to_vec().unwrap(),
            [0.5, -1.0, 0.1, 0.5, -1.0, 0.1],
            "{device}"
        );
        let [gx, ..] = ops::group_norm_backward(&rows, &gamma, &kept, &gy_rows, &layer).unwrap();
        assert_eq!(gx.to_vec().unwrap(), [0.0; 6], "{device}");
        let layer = LayerNormChannels::new();
        let [gamma, beta] = [[3.3], [0.25]].map(|values| tensor(gpu, [1], &values));
        let [x, gy] = [&x, &gy].map(|values| tensor(gpu, [2, 1, 3], values));
        let (y, kept) = ops::layer_norm_channels_forward(&x, [&gamma, &beta], &layer).unwrap();
        assert_eq!(y.to_vec().unwrap(), [0.25; 6], "{device}");
        let gradients = ops::layer_norm_channels_backward(&x, &gamma, &kept, &gy, &layer);
        let [gx, ggamma, _] = gradients.unwrap();
        assert_eq!(gx.to_vec().unwrap(), [0.0; 6], "{device}");
        assert_eq!(ggamma.to_vec().unwrap(), [0.0], "{device}");
    }
}
