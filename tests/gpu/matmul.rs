//! The kernel of src/gpu/kernels/matmul.rs, and the dense layer that is made of it.

use wgpu_cnn::{Gpu, Linear, Model, cpu, ops};

use crate::common::{
    Fill, assert_exact_step, each_core, integers, poisoned_gpus, random, tensor, uniform,
};
use crate::compare::{Expected, assert_same};

struct Case {
    name: &'static str,
    m: usize,
    n: usize,
    k: usize,
}

const CASES: [Case; 8] = [
    Case {
        name: "one number",
        m: 1,
        n: 1,
        k: 1,
    },
    Case {
        name: "a dot product",
        m: 1,
        n: 1,
        k: 100,
    },
    Case {
        name: "an outer product",
        m: 5,
        n: 7,
        k: 1,
    },
    Case {
        name: "less than any tile",
        m: 3,
        n: 5,
        k: 7,
    },
    Case {
        name: "exactly one tile",
        m: 64,
        n: 64,
        k: 16,
    },
    Case {
        name: "one more than a tile",
        m: 65,
        n: 65,
        k: 17,
    },
    Case {
        name: "several tiles",
        m: 130,
        n: 70,
        k: 33,
    },
    Case {
        name: "a row by a matrix",
        m: 1,
        n: 131,
        k: 64,
    },
];

fn product(gpu: &Gpu, case: &Case, transpose: [bool; 2], a: &[f32], b: &[f32]) -> Vec<f32> {
    let &Case { m, n, k, .. } = case;
    let a = tensor(gpu, if transpose[0] { [k, m] } else { [m, k] }, a);
    let b = tensor(gpu, if transpose[1] { [n, k] } else { [k, n] }, b);
    ops::matmul(&a, transpose[0], &b, transpose[1])
        .unwrap()
        .to_vec()
        .unwrap()
}

#[test]
fn products_equal_the_reference_in_all_four_forms() {
    for case in &CASES {
        let &Case { name, m, n, k } = case;
        for [ta, tb] in [[false, false], [false, true], [true, false], [true, true]] {
            let kinds: [(&str, Fill); 2] = [("random", uniform), ("integers", integers)];
            for (kind, fill) in kinds {
                let mut rng = random((m * n * k) as u64);
                let (a, b) = (fill(&mut rng, m * k), fill(&mut rng, k * n));
                let expected = Expected::sums(k, [&a, &b], |[a, b]| {
                    let mut c = vec![0.0; m * n];
                    cpu::matmul(m, n, k, &a, ta, &b, tb, &mut c).unwrap();
                    c
                });
                for (device, gpu) in each_core() {
                    let name = format!("{name}, {kind}, {ta} {tb}, {device}");
                    let c = product(gpu, case, [ta, tb], &a, &b);
                    expected.assert(&name, &c);
                    if kind == "integers" {
                        let exact: Vec<f32> = expected.values.iter().map(|&v| v as f32).collect();
                        assert_same(&name, &c, &exact);
                    }
                }
            }
        }
    }
}

/// So many tiles of so many multiply-adds that subgroups take those of 64 rows, as a test in `src` holds: the
/// last of them whole, or ending outside the matrix.
#[test]
fn large_products_equal_the_reference_in_all_four_forms() {
    for [m, n, k] in [[1030, 990, 67], [1088, 1024, 64]] {
        let name = format!("{m} x {n} x {k}");
        let case = Case {
            name: "large",
            m,
            n,
            k,
        };
        let mut rng = random(7);
        let (a, b) = (integers(&mut rng, m * k), integers(&mut rng, k * n));
        for [ta, tb] in [[false, false], [false, true], [true, false], [true, true]] {
            let mut expected = vec![0.0; m * n];
            cpu::matmul(m, n, k, &a, ta, &b, tb, &mut expected).unwrap();
            for (device, gpu) in poisoned_gpus().take(1) {
                let c = product(gpu, &case, [ta, tb], &a, &b);
                assert_same(&format!("{name}, {ta} {tb}, {device}"), &c, &expected);
            }
        }
    }
}

/// A sum longer than llvmpipe lets an invocation's loops be.
#[test]
fn a_very_long_sum_is_complete() {
    let case = Case {
        name: "long",
        m: 3,
        n: 2,
        k: 150_000,
    };
    let (a, b) = (vec![1.0; 3 * case.k], vec![2.0; 2 * case.k]);
    for (device, gpu) in poisoned_gpus().take(1) {
        let c = product(gpu, &case, [false, true], &a, &b);
        assert_same(device, &c, &[2.0 * case.k as f32; 6]);
    }
}

/// More tiles than a grid has workgroups along one dimension.
#[test]
fn a_grid_that_folds_covers_every_tile() {
    let case = Case {
        name: "folded",
        m: 1,
        n: 64 * 32_768 + 130,
        k: 1,
    };
    let b = integers(&mut random(6), case.n);
    for (device, gpu) in poisoned_gpus().take(1) {
        assert_same(device, &product(gpu, &case, [false, false], &[1.0], &b), &b);
    }
}

/// The dense layer: its output, and the gradients of its weights, its bias and of what lies before.
#[test]
fn dense_layers_equal_the_reference() {
    struct Layer {
        /// `[F]`, or `[rows, F]`, of which every row is multiplied.
        input: &'static [usize],
        out_features: usize,
        bias: bool,
        batch: usize,
    }
    let layers = [
        Layer {
            input: &[1],
            out_features: 1,
            bias: true,
            batch: 1,
        },
        Layer {
            input: &[3],
            out_features: 10,
            bias: true,
            batch: 7,
        },
        Layer {
            input: &[70],
            out_features: 66,
            bias: false,
            batch: 65,
        },
        Layer {
            input: &[5, 9],
            out_features: 4,
            bias: true,
            batch: 3,
        },
    ];
    for Layer {
        input,
        out_features,
        bias,
        batch,
    } in layers
    {
        // A product with a fixed matrix before it, whose gradient needs that of the layer's input.
        let features = *input.last().unwrap();
        let model = Model::builder(input)
            .push(Linear::new(features).bias(false))
            .push(Linear::new(out_features).bias(bias))
            .build()
            .unwrap();
        let mut rng = random(features as u64);
        let x = integers(&mut rng, batch * input.iter().product::<usize>());
        let parameters: Vec<(String, Vec<f32>)> = model
            .parameters()
            .map(|(name, shape)| {
                // Mostly zeros before it, so that all sums stay exact in f32.
                let mut values = integers(&mut rng, shape.len());
                if name == "0.weight" {
                    values.iter_mut().enumerate().for_each(|(i, v)| {
                        *v = if i % (features + 1) == 0 { 1.0 } else { 0.0 };
                    });
                }
                (name.into(), values)
            })
            .collect();
        let name = format!("{input:?} to {out_features}");
        assert_exact_step(&name, &model, &parameters, &x, each_core());
    }
}
