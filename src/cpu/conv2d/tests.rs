use super::*;
use crate::op::{Conv2d, Size2};

#[test]
fn a_small_case_equals_values_computed_by_hand() {
    let g = Conv2d::new(1, 2).geometry(1, &[1, 3, 3].into()).unwrap();
    let x = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0];
    let (w, gy) = ([1.0, 0.0, -1.0, 2.0], [1.0, 0.0, 0.0, 2.0]);
    let (mut y, mut gx, mut gw) = ([0.0; 4], [0.0; 9], [0.0; 4]);
    conv2d_forward(&g, &x, &w, Some(&[0.5]), &mut y).unwrap();
    assert_eq!(y, [7.5, 9.5, 13.5, 15.5]);
    conv2d_backward_input(&g, &gy, &w, &mut gx).unwrap();
    assert_eq!(gx, [1.0, 0.0, 0.0, -1.0, 4.0, 0.0, 0.0, -2.0, 4.0]);
    conv2d_backward_weight(&g, &x, &gy, &mut gw).unwrap();
    assert_eq!(gw, [11.0, 14.0, 20.0, 23.0]);
}

#[test]
fn wrong_lengths_and_groups_are_refused() {
    let g = Conv2d::new(2, 2).geometry(1, &[2, 3, 3].into()).unwrap();
    let (x, w, mut y) = (vec![0.0f32; 18], vec![0.0; 16], vec![0.0; 8]);
    assert!(conv2d_forward(&g, &x, &w, None, &mut y).is_ok());
    assert!(conv2d_forward(&g, &x[1..], &w, None, &mut y).is_err());
    assert!(conv2d_forward(&g, &x, &w[1..], None, &mut y).is_err());
    assert!(conv2d_forward(&g, &x, &w, None, &mut y[1..]).is_err());
    assert!(conv2d_forward(&g, &x, &w, Some(&[0.0]), &mut y).is_err());
    for groups in [0, 3] {
        let g = Conv2dGeometry { groups, ..g };
        assert!(conv2d_forward(&g, &x, &w, None, &mut y).is_err());
    }
    let nothing = Conv2dGeometry {
        out_size: [0, 2].into(),
        ..g
    };
    assert!(conv2d_backward_weight(&nothing, &x, &[], &mut [0.0; 16]).is_err());
}

/// What the three passes of a convolution are about.
struct Case {
    geometry: Conv2dGeometry,
    x: Vec<f32>,
    w: Vec<f32>,
    gy: Vec<f32>,
}

/// Output, input gradient and weight gradient.
type Passes<T> = [Vec<T>; 3];

impl Case {
    fn new(layer: Conv2d, batch: usize, input: [usize; 3]) -> Self {
        Self::of(layer.geometry(batch, &input.into()).unwrap())
    }

    fn of(geometry: Conv2dGeometry) -> Self {
        let mut state = 0x9e37_79b9u32;
        let mut values = |len: usize| -> Vec<f32> {
            let mut next = || {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 8) as f32 / (1 << 23) as f32 - 1.0
            };
            (0..len).map(|_| next()).collect()
        };
        Self {
            x: values(geometry.input_len()),
            w: values(geometry.weight_shape().iter().product()),
            gy: values(geometry.output_shape().iter().product()),
            geometry,
        }
    }

    fn run<T: Real>(&self, direct_only: bool) -> Passes<T> {
        let of = |values: &[f32]| -> Vec<T> { values.iter().map(|&v| T::nearest(v)).collect() };
        let (x, w, gy) = (of(&self.x), of(&self.w), of(&self.gy));
        let mut passes = [gy.len(), x.len(), w.len()].map(|len| vec![T::nan(); len]);
        let [y, gx, gw] = &mut passes;
        conv2d_forward_by(direct_only, &self.geometry, &x, &w, None, y).unwrap();
        conv2d_backward_input_by(direct_only, &self.geometry, &gy, &w, gx).unwrap();
        conv2d_backward_weight_by(direct_only, &self.geometry, &x, &gy, gw).unwrap();
        passes
    }
}

/// Shapes of every kind that the products tell apart: strides of several phases, of phases without taps, groups with
/// few and with many channels, planes smaller than a tile, rows of no multiple, more padding than the filter has taps,
/// filters of more taps than a block of a sum, few windows, and those for Winograd's algorithm.
fn cases() -> Vec<Case> {
    let mut cases = vec![
        Case::new(Conv2d::new(5, 3).padding(1), 2, [3, 7, 7]),
        Case::new(
            Conv2d::new(6, 3).padding(1).stride(2).groups(2),
            3,
            [4, 9, 8],
        ),
        Case::new(
            Conv2d::new(6, 5).padding(2).stride([3, 1]).groups(6),
            1,
            [6, 20, 11],
        ),
        Case::new(Conv2d::new(7, 3).padding(1), 9, [5, 2, 2]),
        Case::new(Conv2d::new(9, 7).padding(3).stride(2), 2, [2, 40, 33]),
        Case::new(Conv2d::new(8, 1).stride(2), 2, [8, 8, 8]),
        Case::new(Conv2d::new(3, 3).dilation(2), 1, [70, 11, 13]),
        Case::new(Conv2d::new(2, 3).stride(4), 1, [3, 6, 6]),
        Case::new(Conv2d::new(4, 16).stride(16), 1, [3, 32, 48]),
        // Some pixels lie under taps that no window of the output has.
        Case::new(
            Conv2d::new(1, [1, 5])
                .stride([1, 5])
                .dilation([1, 2])
                .padding([0, 0, 7, 0]),
            1,
            [1, 1, 4],
        ),
        Case::new(
            Conv2d::new(4, [1, 9]).padding([0, 0, 12, 3]),
            2,
            [3, 5, 260],
        ),
        Case::new(
            Conv2d::new(5, [1, 70]).padding([0, 0, 3, 9]),
            2,
            [2, 4, 300],
        ),
    ];
    cases.extend(few_cases());
    cases.extend(winograd_cases());
    cases
}

/// Those of few windows and many filters: one more than tasks share evenly, groups, phases with and without taps, more
/// pixels than a block of a sum has terms.
fn few_cases() -> Vec<Case> {
    vec![
        Case::new(Conv2d::new(67, 3).padding(1), 5, [65, 3, 2]),
        Case::new(
            Conv2d::new(130, 3).padding(1).stride(2).groups(2),
            2,
            [132, 5, 4],
        ),
        Case::new(Conv2d::new(80, 1).stride(2), 7, [64, 5, 5]),
        Case::new(Conv2d::new(64, 3).padding([1, 0, 2, 1]), 8, [64, 4, 4]),
    ]
}

/// Those that go through Winograd's algorithm in every pass: extents that are no multiples of a tile's, panels that are
/// not full, one image, groups, sums of more than a block's terms, and a row of more tiles than a weight gradient
/// transforms at a time.
fn winograd_cases() -> Vec<Case> {
    vec![
        Case::new(Conv2d::new(20, 3).padding([2, 0, 1, 1]), 3, [17, 19, 21]),
        Case::new(Conv2d::new(16, 3).padding(1), 1, [17, 6, 205]),
        Case::new(Conv2d::new(66, 3).padding(1), 9, [70, 8, 8]),
        Case::new(Conv2d::new(48, 3).padding(1).groups(2), 2, [32, 17, 40]),
        Case::new(Conv2d::new(20, 5).padding([3, 0, 1, 2]), 3, [17, 13, 15]),
        Case::new(Conv2d::new(16, 5).padding(2), 1, [18, 5, 103]),
        Case::new(Conv2d::new(66, 5), 7, [70, 12, 12]),
        Case::new(Conv2d::new(48, 5).padding(4).groups(2), 2, [32, 9, 20]),
        Case::new(
            Conv2d::new(34, [1, 3]).padding([1, 0, 2, 1]),
            3,
            [33, 7, 21],
        ),
        Case::new(Conv2d::new(66, [1, 3]), 2, [70, 1, 390]),
        Case::new(
            Conv2d::new(64, [3, 1]).padding([0, 1, 0, 0]).groups(2),
            9,
            [64, 90, 1],
        ),
    ]
}

fn bits<const N: usize>(passes: [Vec<f32>; N]) -> [Vec<u32>; N] {
    passes.map(|pass| pass.into_iter().map(f32::to_bits).collect())
}

/// The largest difference, as a share of the largest value.
fn off(got: &[f32], expected: &[f64]) -> f64 {
    let largest = expected
        .iter()
        .fold(0.0f64, |most, value| most.max(value.abs()));
    let pairs = got.iter().zip(expected);
    let differences = pairs.map(|(&got, expected)| (f64::from(got) - expected).abs());
    assert!(got.iter().all(|got| got.is_finite()) && largest > 0.0);
    differences.fold(0.0, f64::max) / largest
}

#[test]
fn products_of_single_precision_are_near_the_plain_ones_of_double() {
    for case in cases() {
        let expected = case.run::<f64>(true);
        for (direct_only, most) in [(true, 5e-7), (false, 3e-6)] {
            let got = case.run::<f32>(direct_only);
            for (pass, (got, expected)) in got.iter().zip(&expected).enumerate() {
                let off = off(got, expected);
                assert!(off <= most, "{:?}: {off} in pass {pass}", case.geometry);
            }
        }
    }
}

#[test]
fn winograd_is_there_for_large_layers_and_is_kept_away() {
    for case in winograd_cases() {
        let [direct, fast] = [true, false].map(|direct_only| case.run::<f32>(direct_only));
        for (pass, (direct, fast)) in direct.iter().zip(&fast).enumerate() {
            assert!(direct != fast, "{:?}: pass {pass}", case.geometry);
        }
    }
    for taps in [3, 5] {
        for case in [
            Case::new(Conv2d::new(8, taps).padding(1), 9, [70, 8, 8]),
            Case::new(Conv2d::new(32, taps).stride([1, 2]), 2, [32, 20, 20]),
            Case::new(Conv2d::new(32, taps).dilation(2), 2, [32, 20, 20]),
        ] {
            let same = case.run::<f32>(true) == case.run::<f32>(false);
            assert!(same, "{:?}", case.geometry);
        }
    }
    let row = || Conv2d::new(32, [1, 3]);
    for case in [
        Case::new(row(), 2, [31, 1, 500]),
        Case::new(row().stride([1, 2]), 2, [32, 1, 500]),
        Case::new(row().dilation([1, 2]), 2, [32, 1, 500]),
    ] {
        let same = case.run::<f32>(true) == case.run::<f32>(false);
        assert!(same, "{:?}", case.geometry);
    }
}

#[test]
fn what_is_not_finite_comes_out_where_the_definition_has_it() {
    let numbers = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 3e38];
    for mut case in cases() {
        let clean = case.w.clone();
        for (at, &number) in numbers.iter().enumerate() {
            let (len, places) = (case.x.len(), case.gy.len());
            case.x[(at * 977 + 3) % len] = number;
            case.gy[(at * 811 + 5) % places] = number;
        }
        for weight in [None, Some(f32::NAN), Some(f32::INFINITY)] {
            case.w.copy_from_slice(&clean);
            if let Some(weight) = weight {
                let at = 7 % case.w.len();
                case.w[at] = weight;
            }
            // Sums of numbers as large as these are infinite in single precision alone.
            let kinds = |values: &[f64]| -> Vec<f64> {
                let kind = |&value: &f64| match value as f32 {
                    value if value.is_finite() => 0.0,
                    value => f64::from(value),
                };
                values.iter().map(kind).collect()
            };
            let expected = case.run::<f64>(true);
            for direct_only in [true, false] {
                let got = case.run::<f32>(direct_only);
                for (pass, (got, expected)) in got.iter().zip(&expected).enumerate() {
                    let got: Vec<f64> = got.iter().map(|&got| got.into()).collect();
                    let (got, expected) = (kinds(&got), kinds(expected));
                    let same = |(a, b): (&f64, &f64)| a == b || a.is_nan() && b.is_nan();
                    let first = got.iter().zip(&expected).position(|pair| !same(pair));
                    let (got, expected) = match first {
                        None => continue,
                        Some(at) => (got[at], expected[at]),
                    };
                    panic!("{:?}: {got} for {expected} in pass {pass}", case.geometry);
                }
            }
        }
    }
}

#[test]
#[cfg(feature = "native")]
fn the_bits_do_not_depend_on_the_number_of_threads() {
    for case in cases() {
        let run = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
            let passes = pool
                .unwrap()
                .install(|| [true, false].map(|direct| case.run::<f32>(direct)));
            passes.map(bits)
        };
        let one = run(1);
        assert!(run(2) == one && run(7) == one, "{:?}", case.geometry);
    }
}

#[test]
fn an_image_in_far_more_padding_than_it_has_pixels_needs_no_memory_for_it() {
    let far = 1 << 20;
    let layer = Conv2d::new(4, 3).padding(far).stride(far);
    let case = Case::new(layer, 1, [4, 5, 5]);
    assert_eq!(case.geometry.out_size, Size2::from(3));
    let (got, expected) = (case.run::<f32>(true), case.run::<f64>(true));
    assert!(off(&got[0], &expected[0]) < 1e-6);
}

#[test]
fn strides_far_beyond_every_plane_overflow_nothing() {
    let geometry = |input: [usize; 2], output: [usize; 2], stride: [usize; 2]| Conv2dGeometry {
        batch: 1,
        groups: 1,
        in_channels: 1,
        in_size: input.into(),
        out_channels: 1,
        out_size: output.into(),
        kernel: 1.into(),
        stride: stride.into(),
        padding: [0; 4],
        dilation: 1.into(),
    };
    for geometry in [
        geometry([4, 4], [1, 1], [1 << 60; 2]),
        geometry([1, 4096], [1, 4096], [1 << 54, 1]),
    ] {
        let case = Case::of(geometry);
        let passes = case
            .run::<f32>(false)
            .into_iter()
            .zip(case.run::<f64>(true));
        for (got, expected) in passes {
            assert!(off(&got, &expected) < 1e-6, "{geometry:?}");
        }
    }
}

/// So that an image has the same result alone as among many.
#[test]
fn few_windows_have_the_sums_of_many() {
    for case in few_cases() {
        let (geometry, w) = (&case.geometry, &case.w);
        let passes = [
            (Sliding::forward(geometry, w), &case.x, case.gy.len()),
            (Sliding::backward_input(geometry, w), &case.gy, case.x.len()),
        ];
        for (sliding, from, len) in passes {
            let sliding = sliding.unwrap();
            let bias: Vec<f32> = (0..geometry.groups * sliding.to)
                .map(|at| at as f32)
                .collect();
            let [mut one, mut other] = [0; 2].map(|_| vec![f32::NAN; len]);
            assert!(
                few::run(&sliding, from, Some(&bias), &mut one),
                "{geometry:?}"
            );
            windows::run(&sliding, from, Some(&bias), &mut other);
            assert!(bits([one]) == bits([other]), "{geometry:?}");
        }
    }
}

#[test]
#[cfg(feature = "native")]
fn callers_on_several_threads_are_served_as_if_alone() {
    let cases = cases();
    let alone: Vec<_> = cases.iter().map(|case| bits(case.run(false))).collect();
    std::thread::scope(|scope| {
        for caller in 0..3 {
            let (cases, alone) = (&cases, &alone);
            scope.spawn(move || {
                // Each begins at another case.
                let mut pairs: Vec<_> = cases.iter().zip(alone).collect();
                pairs.rotate_left(caller * cases.len() / 3);
                for (case, alone) in pairs {
                    assert!(bits(case.run(false)) == *alone, "{:?}", case.geometry);
                }
            });
        }
    });
}
