//! The kernels of src/gpu/kernels/softmax.rs.

use wgpu_cnn::engine::catalogue::of_sum;
use wgpu_cnn::op::SoftmaxGeometry;
use wgpu_cnn::{Gpu, Shape, Softmax, cpu, ops};

use crate::common::{
    assert_error, each_gpu, integers, narrow, poisoned_gpus, random, tensor, uniform, wide,
};
use crate::compare::{Expected, assert_same};

struct Case {
    name: &'static str,
    /// With the batch.
    shape: &'static [usize],
    axis: isize,
}

impl Case {
    fn layer(&self, log: bool) -> Softmax {
        Softmax::new().axis(self.axis).log(log)
    }

    fn geometry(&self) -> SoftmaxGeometry {
        let (batch, example) = (self.shape[0], Shape::from(&self.shape[1..]));
        self.layer(false).geometry(batch, &example).unwrap()
    }
}

const CASES: [Case; 10] = [
    Case {
        name: "two classes",
        shape: &[1, 2],
        axis: -1,
    },
    Case {
        name: "rows",
        shape: &[65, 10],
        axis: 0,
    },
    Case {
        name: "whole vectors",
        shape: &[4, 64],
        axis: -1,
    },
    Case {
        name: "long rows",
        shape: &[3, 1031],
        axis: -1,
    },
    Case {
        name: "rows of a matrix",
        shape: &[2, 3, 7],
        axis: 1,
    },
    Case {
        name: "columns of a matrix",
        shape: &[2, 7, 3],
        axis: 0,
    },
    Case {
        name: "channels",
        shape: &[2, 5, 7, 9],
        axis: 0,
    },
    Case {
        name: "rows of an image",
        shape: &[3, 2, 6, 5],
        axis: -2,
    },
    Case {
        name: "columns of an image",
        shape: &[3, 2, 6, 5],
        axis: 2,
    },
    Case {
        name: "one channel of many pixels",
        shape: &[1, 2, 300, 1],
        axis: 0,
    },
];

fn forward(gpu: &Gpu, case: &Case, log: bool, x: &[f32]) -> Vec<f32> {
    let y = ops::softmax_forward(&tensor(gpu, case.shape, x), &case.layer(log));
    y.unwrap().to_vec().unwrap()
}

/// Runs over each line along the axis: its elements' places.
fn lines(geometry: &SoftmaxGeometry) -> impl Iterator<Item = Vec<usize>> {
    let &SoftmaxGeometry {
        outer,
        extent,
        inner,
    } = geometry;
    (0..outer * inner).map(move |line| {
        let first = line / inner * extent * inner + line % inner;
        (0..extent).map(|at| first + at * inner).collect()
    })
}

/// Units in the last place that WGSL lets exp be off at this distance from the maximum, 3 + 2|x|, and
/// what the rounding of the distance adds.
fn exp_units(distance: f64) -> f64 {
    3.0 + 3.0 * distance.abs()
}

/// The reference, and what exp, log and the sum may do to each element of a line: the errors of the
/// terms by their share of the sum, the sum's own, and for the logarithm that of log, 2^-21 next to 1
/// and 3 units elsewhere.
fn expected(case: &Case, log: bool, x: &[f32]) -> Expected {
    let (geometry, unit) = (case.geometry(), f64::from(f32::EPSILON));
    let (x, mut values) = (wide(x), vec![0.0; x.len()]);
    cpu::softmax_forward(&geometry, log, &x, &mut values).unwrap();
    let mut shares = vec![0.0; x.len()];
    cpu::softmax_forward(&geometry, false, &x, &mut shares).unwrap();
    let mut tolerances = vec![0.0; x.len()];
    for line in lines(&geometry) {
        let largest = line.iter().map(|&at| x[at]).fold(f64::MIN, f64::max);
        let of_terms = line
            .iter()
            .map(|&at| shares[at] * exp_units(x[at] - largest));
        let sum = of_terms.sum::<f64>() + of_sum(line.len(), 1.0) / unit;
        for &at in &line {
            let (distance, value) = (x[at] - largest, values[at].abs());
            tolerances[at] = f64::from(f32::MIN_POSITIVE)
                + unit
                    * match log {
                        false => value * (exp_units(distance) + sum + 4.0),
                        true => distance.abs() + value + sum + 4.0 + 3.0 * (value + distance.abs()),
                    };
        }
    }
    Expected { values, tolerances }
}

/// Numbers within (-6, 6), so that the shares of a line differ much.
fn logits(case: &Case) -> Vec<f32> {
    let len = case.geometry().input_len();
    let values = uniform(&mut random(len as u64), len);
    values.iter().map(|value| 6.0 * value).collect()
}

#[test]
fn values_equal_the_reference() {
    for case in &CASES {
        let x = logits(case);
        for log in [false, true] {
            let expected = expected(case, log, &x);
            for (device, gpu) in each_gpu() {
                let name = format!("{}, log {log}, {device}", case.name);
                expected.assert(&name, &forward(gpu, case, log, &x));
            }
        }
    }
}

/// On any value at all: the kernel reads what the forward pass has written, whatever that is. With whole
/// numbers for the values of softmax there is nothing to round.
#[test]
fn gradients_equal_the_reference() {
    for case in &CASES {
        let geometry = case.geometry();
        let len = geometry.input_len();
        let kinds = [("random", false), ("random", true), ("integers", false)];
        for (kind, log) in kinds {
            let rng = &mut random(len as u64);
            let (y, gy) = match kind {
                "integers" => (integers(rng, len), integers(rng, len)),
                _ => {
                    let mut y = vec![0.0; len];
                    cpu::softmax_forward(&geometry, log, &logits(case), &mut y).unwrap();
                    (y, uniform(rng, len))
                }
            };
            let run = |y: Vec<f64>, gy: Vec<f64>| {
                let mut gx = vec![0.0; len];
                cpu::softmax_backward(&geometry, log, &y, &gy, &mut gx).unwrap();
                gx
            };
            let values = run(wide(&y), wide(&gy));
            // The formula is a difference: on magnitudes, twice the first term less the difference.
            let magnitudes: Vec<f64> = gy.iter().map(|g| g.abs().into()).collect();
            let (less, own) = (run(wide(&y), magnitudes.clone()), magnitudes.iter().zip(&y));
            let terms = own.zip(less).map(|((g, &y), less)| match log {
                false => 2.0 * g * f64::from(y) - less,
                true => (2.0 * g - less) * exp_units(y.into()),
            });
            let terms: Vec<f64> = terms.collect();
            let expected = Expected::new(values, &terms, geometry.extent + 4);
            for (device, gpu) in each_gpu() {
                let name = format!("{}, {kind}, log {log}, {device}", case.name);
                let [y, gy] = [&y, &gy].map(|values| tensor(gpu, case.shape, values));
                let layer = case.layer(log);
                let gx = ops::softmax_backward(&y, &gy, &layer).unwrap();
                let gx = gx.to_vec().unwrap();
                match kind {
                    "integers" => assert_same(&name, &gx, &narrow(&expected.values)),
                    _ => expected.assert(&name, &gx),
                }
            }
        }
    }
}

/// What makes it a softmax, whatever the reference says.
#[test]
fn every_line_sums_to_one_and_its_gradient_to_zero() {
    for case in &CASES {
        let (geometry, x) = (case.geometry(), logits(case));
        let gy = uniform(&mut random(16), x.len());
        let within = of_sum(geometry.extent, 1.0) + 4.0 * f64::from(f32::EPSILON);
        for (device, gpu) in each_gpu() {
            let name = format!("{}, {device}", case.name);
            let (y, logs) = (forward(gpu, case, false, &x), forward(gpu, case, true, &x));
            let [y_there, gy_there] = [&y, &gy].map(|values| tensor(gpu, case.shape, values));
            let gx = ops::softmax_backward(&y_there, &gy_there, &case.layer(false)).unwrap();
            let gx = gx.to_vec().unwrap();
            for line in lines(&geometry) {
                let sum = |value: &dyn Fn(usize) -> f64| -> f64 {
                    line.iter().map(|&at| value(at)).sum()
                };
                let total = sum(&|at| y[at].into());
                assert!((total - 1.0).abs() < within, "{name}: {total}");
                // Each logarithm may be off by what log is off by.
                let total = sum(&|at| f64::from(logs[at]).exp());
                assert!((total - 1.0).abs() < 16.0 * within, "{name}: {total}");
                let total = sum(&|at| gx[at].into());
                assert!(total.abs() < 2.0 * within, "{name}: {total}");
            }
        }
    }
}

/// In numbers that do not come from the reference.
#[test]
fn large_values_stay_finite() {
    let (ln2, rows) = (std::f32::consts::LN_2, [5usize, 4]);
    let x = [
        [1e30, 1e30, -1e30, -1e30],
        [3e38, 0.0, 0.0, 0.0],
        [-3e38, -3e38, -3e38, -3e38],
        [1e4, 1e4, 1e4, 1e4],
        [1000.0 + 8.0 * ln2, 0.0, 1000.0 + 8.0 * ln2, -1000.0],
    ];
    let y = [
        [0.5, 0.5, 0.0, 0.0],
        [1.0, 0.0, 0.0, 0.0],
        [0.25; 4],
        [0.25; 4],
        [0.5, 0.0, 0.5, 0.0],
    ];
    let logs = [
        [-ln2, -ln2, -2e30, -2e30],
        [0.0, -3e38, -3e38, -3e38],
        [-2.0 * ln2; 4],
        [-2.0 * ln2; 4],
        [-ln2, -1000.0 - 9.0 * ln2, -ln2, -2000.0 - 9.0 * ln2],
    ];
    for (device, gpu) in each_gpu() {
        let x = tensor(gpu, rows, x.as_flattened());
        for (log, values) in [(false, y), (true, logs)] {
            let layer = Softmax::new().log(log);
            let got = ops::softmax_forward(&x, &layer).unwrap().to_vec().unwrap();
            let values = wide(values.as_flattened());
            let terms: Vec<f64> = values.iter().map(|value| value.abs() + 1.0).collect();
            Expected::new(values, &terms, 4).assert(&format!("log {log}, {device}"), &got);
        }
    }
}

/// What is no number spoils its own line alone, and negative infinity has no share.
#[test]
fn nan_and_infinities_stay_in_their_line() {
    let (inf, nan) = (f32::INFINITY, f32::NAN);
    let x = [
        [0.0, nan, 1.0],
        [0.0, inf, 1.0],
        [-inf, 2.0, 2.0],
        [-inf, -inf, -inf],
        [1.0, 1.0, -1e9],
    ];
    let x = x.as_flattened();
    let case = Case {
        name: "no numbers",
        shape: &[5, 3],
        axis: -1,
    };
    for log in [false, true] {
        let mut values = vec![0.0; 15];
        cpu::softmax_forward(&case.geometry(), log, &wide(x), &mut values).unwrap();
        let nans = values.iter().map(|value| value.is_nan());
        assert!(nans.eq((0..15).map(|at| !(6..9).contains(&at) && at < 12)));
        let terms: Vec<f64> = values.iter().map(|value| value.abs() + 1.0).collect();
        let expected = Expected::new(values, &terms, 4);
        for (device, gpu) in each_gpu() {
            expected.assert(
                &format!("log {log}, {device}"),
                &forward(gpu, &case, log, x),
            );
        }
    }
}

/// More workgroups than a grid has along one dimension.
#[test]
fn a_grid_that_folds_covers_every_line() {
    const LINES: usize = 64 * 32_768 + 130;
    let case = Case {
        name: "folded",
        shape: &[LINES, 2],
        axis: -1,
    };
    let x = uniform(&mut random(17), 2 * LINES);
    let expected = expected(&case, false, &x);
    for (device, gpu) in poisoned_gpus().take(1) {
        expected.assert(device, &forward(gpu, &case, false, &x));
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    for (_, gpu) in poisoned_gpus() {
        let [x, other] = [[2, 3], [3, 2]].map(|shape| tensor(gpu, shape, &[1.0; 6]));
        for axis in [1, -2] {
            let layer = Softmax::new().axis(axis);
            let words = ["softmax", "an axis of [3]"];
            assert_error(ops::softmax_forward(&x, &layer), "shape", &words);
            assert_error(ops::softmax_backward(&x, &x, &layer), "shape", &words);
        }
        let wrong = ops::softmax_backward(&x, &other, &Softmax::new());
        assert_error(wrong, "shape", &["output gradient", "[2, 3]", "[3, 2]"]);
    }
}
