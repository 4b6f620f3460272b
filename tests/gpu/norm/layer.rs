//! Layer normalisation.

use wgpu_cnn::{LayerNorm, cpu, ops};

use super::{chain, scales};
use crate::common::{Fill, each_gpu, integers, narrow, random, tensor, uniform, wide};
use crate::compare::{Expected, assert_same};

struct Rows {
    name: &'static str,
    /// `(N, ...)`
    shape: &'static [usize],
    epsilon: f64,
    /// What all values are moved by.
    mean: f32,
}

impl Rows {
    fn layer(&self) -> LayerNorm {
        LayerNorm::new().epsilon(self.epsilon)
    }

    fn len(&self) -> usize {
        self.shape.iter().product()
    }

    fn row(&self) -> usize {
        self.len() / self.shape[0]
    }

    fn input(&self) -> Vec<f32> {
        let x = uniform(&mut random(self.len() as u64), self.len());
        x.iter().map(|x| x + self.mean).collect()
    }

    /// The mean and the inverse deviation of each row.
    fn statistics(&self, x: &[f64]) -> Vec<f64> {
        let of_row = |row: &[f64]| {
            let mean = row.iter().sum::<f64>() / row.len() as f64;
            let squares = row.iter().map(|x| (x - mean) * (x - mean));
            let variance = squares.sum::<f64>() / row.len() as f64;
            [mean, (variance + self.epsilon).sqrt().recip()]
        };
        x.chunks_exact(self.row()).flat_map(of_row).collect()
    }

    /// What the rounding of `(x - mean) * inverse` comes from.
    fn spread(&self, x: &[f64]) -> Vec<f64> {
        let (row, statistics) = (self.row(), self.statistics(x));
        let of = |(at, x): (usize, &f64)| {
            let [mean, inverse] = [0, 1].map(|which| statistics[at / row * 2 + which]);
            (x.abs() + mean.abs()) * inverse
        };
        x.iter().enumerate().map(of).collect()
    }
}

const ROWS: [Rows; 7] = [
    Rows {
        name: "two values",
        shape: &[1, 2],
        epsilon: 1e-5,
        mean: 0.0,
    },
    Rows {
        name: "short rows",
        shape: &[65, 3],
        epsilon: 1e-5,
        mean: 0.0,
    },
    Rows {
        name: "whole vectors",
        shape: &[4, 64],
        epsilon: 1e-5,
        mean: 0.0,
    },
    Rows {
        name: "one more than a workgroup",
        shape: &[3, 65],
        epsilon: 1e-3,
        mean: 0.5,
    },
    Rows {
        name: "images of odd sizes",
        shape: &[2, 3, 7, 5],
        epsilon: 1e-5,
        mean: 0.0,
    },
    Rows {
        name: "long rows",
        shape: &[2, 1031],
        epsilon: 0.0,
        mean: 0.0,
    },
    Rows {
        name: "a large mean",
        shape: &[3, 5, 8],
        epsilon: 1e-5,
        mean: 100.0,
    },
];

#[test]
fn layer_norm_equals_the_reference() {
    for case in &ROWS {
        let (batch, row, x, rng) = (case.shape[0], case.row(), case.input(), &mut random(22));
        let (gamma, beta) = (scales(rng, row), uniform(rng, row));
        let (x64, mut values) = (wide(&x), vec![0.0; x.len()]);
        let [gamma64, beta64] = [&gamma, &beta].map(|values| wide(values));
        cpu::layer_norm_forward(batch, case.epsilon, &x64, &gamma64, &beta64, &mut values).unwrap();
        let spread = case.spread(&x64).into_iter().enumerate();
        let terms = spread.map(|(at, spread)| {
            let [gamma, beta] = [&gamma64, &beta64].map(|values| values[at % row].abs());
            gamma * spread + beta
        });
        let y = Expected::new(values, &terms.collect::<Vec<_>>(), chain(row));
        let values = case.statistics(&x64);
        let terms = values.iter().map(|value| value.abs() + 1.0);
        let kept = Expected::new(values.clone(), &terms.collect::<Vec<_>>(), chain(row));
        for (device, gpu) in each_gpu() {
            let name = format!("{}, {device}", case.name);
            let parameters = [&gamma, &beta].map(|values| tensor(gpu, &case.shape[1..], values));
            let x = tensor(gpu, case.shape, &x);
            let (got, statistics) =
                ops::layer_norm_forward(&x, parameters.each_ref(), &case.layer()).unwrap();
            y.assert(&name, &got.to_vec().unwrap());
            kept.assert(&name, &statistics.to_vec().unwrap());
        }
    }
}

#[test]
fn gradients_of_layer_norm_equal_the_reference() {
    for case in &ROWS {
        let (batch, row, x, rng) = (case.shape[0], case.row(), case.input(), &mut random(23));
        let (x64, gamma) = (wide(&x), scales(rng, row));
        let statistics = narrow(&case.statistics(&x64));
        let spread = case.spread(&x64);
        for (kind, fill) in [("random", uniform as Fill), ("integers", integers)] {
            let gy = fill(rng, case.len());
            let expected = layer_gradients(case, &x64, &spread, &wide(&gamma), &wide(&gy));
            for (device, gpu) in each_gpu() {
                let got = ops::layer_norm_backward(
                    &tensor(gpu, case.shape, &x),
                    &tensor(gpu, &case.shape[1..], &gamma),
                    &tensor(gpu, [batch, 2], &statistics),
                    &tensor(gpu, case.shape, &gy),
                );
                let got = got.unwrap().map(|tensor| tensor.to_vec().unwrap());
                for (at, what) in ["input", "gamma", "beta"].into_iter().enumerate() {
                    let name = format!("{}, {kind}, {what}, {device}", case.name);
                    match (what, kind) {
                        // Nothing but a sum.
                        ("beta", "integers") => {
                            assert_same(&name, &got[at], &narrow(&expected[at].values));
                        }
                        _ => expected[at].assert(&name, &got[at]),
                    }
                }
            }
        }
    }
}

/// The gradients of input, gamma and beta; `spread` is what stands for the normalised input in what
/// they may be off by.
fn layer_gradients(
    case: &Rows,
    x: &[f64],
    spread: &[f64],
    gamma: &[f64],
    gy: &[f64],
) -> [Expected; 3] {
    let (batch, row, epsilon) = (case.shape[0], case.row(), case.epsilon);
    let mut gx = vec![0.0; x.len()];
    let [mut ggamma, mut gbeta] = [(); 2].map(|()| vec![0.0; row]);
    cpu::layer_norm_backward_input(batch, epsilon, x, gamma, gy, &mut gx).unwrap();
    cpu::layer_norm_backward_parameters(batch, epsilon, x, gy, &mut ggamma, &mut gbeta).unwrap();
    let statistics = case.statistics(x);
    let (mut terms, mut terms_gamma, mut terms_beta) = (vec![], vec![0.0; row], vec![0.0; row]);
    for (at, statistics) in statistics.chunks_exact(2).enumerate() {
        let (spread, gy) = (&spread[at * row..][..row], &gy[at * row..][..row]);
        let h: Vec<f64> = gy.iter().zip(gamma).map(|(gy, g)| (gy * g).abs()).collect();
        let mean = h.iter().sum::<f64>() / row as f64;
        let products = h.iter().zip(spread).map(|(h, spread)| h * spread);
        let product = products.sum::<f64>() / row as f64;
        for i in 0..row {
            terms.push(statistics[1] * (h[i] + mean + spread[i] * product));
            terms_gamma[i] += gy[i].abs() * spread[i];
            terms_beta[i] += gy[i].abs();
        }
    }
    [
        Expected::new(gx, &terms, 2 * chain(row)),
        Expected::new(ggamma, &terms_gamma, batch + 16),
        Expected::new(gbeta, &terms_beta, batch),
    ]
}

/// In numbers that do not come from the reference.
#[test]
fn layer_norm_of_a_constant_row_is_beta_and_nan_stays_in_its_row() {
    let nan = f32::NAN;
    let x = [
        [5.0, 5.0, 5.0, 5.0],
        [0.0, nan, 0.0, 0.0],
        [-1.0, 1.0, -1.0, 1.0],
        [0.0, 0.0, 0.0, 0.0],
    ];
    let (gamma, beta) = ([2.0, 3.0, 4.0, 5.0], [0.5, -0.5, 0.25, 1.0]);
    for (device, gpu) in each_gpu() {
        let (gamma, beta_there) = (tensor(gpu, [4], &gamma), tensor(gpu, [4], &beta));
        let x = tensor(gpu, [4, 4], x.as_flattened());
        let layer = LayerNorm::new();
        let (y, kept) = ops::layer_norm_forward(&x, [&gamma, &beta_there], &layer).unwrap();
        let (y, kept) = (y.to_vec().unwrap(), kept.to_vec().unwrap());
        assert_same(device, &y[..4], &beta);
        assert_same(device, &y[4..8], &[nan; 4]);
        assert_same(device, &y[12..], &beta);
        // A variance of 1, and epsilon.
        let scale = 1.0 / (1.0f64 + 1e-5).sqrt();
        let values = [-2.0, 3.0, -4.0, 5.0].map(|gamma| gamma * scale);
        let values = values.iter().zip(beta).map(|(v, beta)| v + f64::from(beta));
        Expected::new(values.collect(), &[6.0; 4], 4).assert(device, &y[8..12]);
        let means: Vec<f32> = kept.iter().step_by(2).copied().collect();
        assert_same(device, &means, &[5.0, nan, 0.0, 0.0]);
        // Of a constant row, nothing of the gradient is left but what epsilon lets through.
        let gy = tensor(gpu, [4, 4], &[1.0; 16]);
        let kept = tensor(gpu, [4, 2], &kept);
        let ones = tensor(gpu, [4], &[1.0; 4]);
        let [gx, _, gbeta] = ops::layer_norm_backward(&x, &ones, &kept, &gy).unwrap();
        let gx = gx.to_vec().unwrap();
        assert_eq!(gx[..4], [0.0; 4], "{device}");
        assert_same(device, &gx[4..8], &[nan; 4]);
        assert_same(device, &gbeta.to_vec().unwrap(), &[4.0; 4]);
    }
}
