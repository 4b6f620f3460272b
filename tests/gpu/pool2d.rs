//! The kernels of src/gpu/kernels/pool2d.rs: maxima here, means in `mean`.

mod mean;

use wgpu_cnn::op::Pool2dGeometry;
use wgpu_cnn::{MaxPool2d, Shape, Tensor, cpu, ops};

use crate::common::{Fill, bits, each_gpu, integers, poisoned_gpus, random, tensor, uniform};
use crate::compare::{Expected, assert_bits, assert_indices, assert_same};

struct Case {
    name: &'static str,
    /// `(N, C, H, W)`
    input: [usize; 4],
    layer: MaxPool2d,
}

impl Case {
    fn geometry(&self) -> Pool2dGeometry {
        let [batch, image @ ..] = self.input;
        self.layer.geometry(batch, &Shape::from(image)).unwrap()
    }

    /// `(N, C, OH, OW)`
    fn output(&self) -> [usize; 4] {
        let [batch, channels, ..] = self.input;
        let size = self.geometry().out_size;
        [batch, channels, size.height, size.width]
    }

    fn reference(&self, x: &[f32]) -> (Vec<f32>, Vec<u32>) {
        let geometry = self.geometry();
        let len = geometry.output_len();
        let (mut y, mut argmax) = (vec![0.0; len], vec![0; len]);
        cpu::max_pool2d_forward(&geometry, x, &mut y, &mut argmax).unwrap();
        (y, argmax)
    }
}

fn case(name: &'static str, input: [usize; 4], layer: MaxPool2d) -> Case {
    Case { name, input, layer }
}

fn cases() -> Vec<Case> {
    vec![
        case("one pixel", [1, 1, 1, 1], MaxPool2d::new(1)),
        case("2x2", [3, 5, 8, 6], MaxPool2d::new(2)),
        case("2x2, rows left over", [2, 3, 9, 7], MaxPool2d::new(2)),
        case("overlapping", [2, 3, 7, 5], MaxPool2d::new(3).stride(1)),
        case(
            "overlapping, padded",
            [2, 2, 9, 10],
            MaxPool2d::new(3).stride(2).padding(1),
        ),
        case(
            "rectangular",
            [1, 4, 8, 9],
            MaxPool2d::new([2, 3]).stride([3, 1]),
        ),
        case(
            "stride above kernel",
            [2, 2, 11, 10],
            MaxPool2d::new(2).stride(4),
        ),
        case(
            "four-sided",
            [1, 3, 6, 7],
            MaxPool2d::new([4, 3]).stride(2).padding([2, 0, 1, 0]),
        ),
        case(
            "dilation",
            [2, 2, 11, 9],
            MaxPool2d::new(3).stride(1).dilation([2, 3]),
        ),
        case(
            "dilation and padding",
            [1, 2, 9, 9],
            MaxPool2d::new(3).stride(2).dilation(2).padding(1),
        ),
        case(
            "a window in the padding",
            [1, 2, 2, 5],
            MaxPool2d::new(2).stride(1).dilation(3).padding(1),
        ),
        case("the whole plane", [2, 65, 5, 7], MaxPool2d::new([5, 7])),
    ]
}

/// Few values, so that most windows hold their maximum more than once.
fn ties(rng: &mut fastrand::Rng, len: usize) -> Vec<f32> {
    (0..len).map(|_| rng.i8(-1..=1).into()).collect()
}

/// Zeros of both signs.
fn zeros(rng: &mut fastrand::Rng, len: usize) -> Vec<f32> {
    (0..len)
        .map(|_| if rng.bool() { 0.0 } else { -0.0 })
        .collect()
}

fn negative_infinities(rng: &mut fastrand::Rng, len: usize) -> Vec<f32> {
    (0..len)
        .map(|_| {
            if rng.u8(0..9) == 0 {
                rng.f32()
            } else {
                f32::NEG_INFINITY
            }
        })
        .collect()
}

fn nothing_but_negative_infinity(_: &mut fastrand::Rng, len: usize) -> Vec<f32> {
    vec![f32::NEG_INFINITY; len]
}

/// NaN of several bit patterns among infinities and numbers.
fn not_numbers(rng: &mut fastrand::Rng, len: usize) -> Vec<f32> {
    let patterns = [0x7fc0_0000, 0xffc0_0000, 0x7fc0_1234];
    let value = |rng: &mut fastrand::Rng| match rng.u8(0..4) {
        0 => f32::from_bits(patterns[rng.usize(0..3)]),
        1 => f32::INFINITY,
        _ => rng.f32(),
    };
    (0..len).map(|_| value(rng)).collect()
}

const FILLS: [(&str, Fill); 6] = [
    ("random", uniform),
    ("ties", ties),
    ("zeros", zeros),
    ("negative infinities", negative_infinities),
    (
        "nothing but negative infinity",
        nothing_but_negative_infinity,
    ),
    ("not numbers", not_numbers),
];

#[test]
fn maxima_and_their_places_equal_the_reference() {
    for case in &cases() {
        for (kind, fill) in FILLS {
            let x = fill(&mut random(3), case.geometry().input_len());
            let (values, places) = case.reference(&x);
            for (device, gpu) in each_gpu() {
                let name = format!("{}, {kind}, {device}", case.name);
                let (y, argmax) =
                    ops::max_pool2d_forward(&tensor(gpu, case.input, &x), &case.layer).unwrap();
                assert_bits(&name, &y.to_vec().unwrap(), &values);
                assert_indices(&name, &argmax.to_vec().unwrap(), &places);
            }
        }
    }
}

#[test]
fn gradients_equal_the_reference() {
    for case in &cases() {
        let geometry = case.geometry();
        if case.name == "a window in the padding" {
            continue; // whose gradient goes nowhere
        }
        let windows = (geometry.kernel.area()).min(geometry.out_size.area());
        for (kind, fill) in [("random", uniform as Fill), ("integers", integers)] {
            let mut rng = random(4);
            // Ties send several gradients to one place wherever windows overlap.
            let (_, argmax) = case.reference(&ties(&mut rng, geometry.input_len()));
            let gradient: Vec<f32> = fill(&mut rng, geometry.output_len());
            let gradient: Vec<f32> = gradient.iter().map(|g| g + g.signum()).collect();
            let expected = Expected::sums(windows, [&gradient], |[gy]| {
                let mut gx = vec![0.0; geometry.input_len()];
                cpu::max_pool2d_backward(&geometry, &gy, &argmax, &mut gx).unwrap();
                gx
            });
            for (device, gpu) in each_gpu() {
                let name = format!("{}, {kind}, {device}", case.name);
                let gy = tensor(gpu, case.output(), &gradient);
                let places = Tensor::from_slice(gpu, case.output(), &argmax).unwrap();
                let gx = ops::max_pool2d_backward(&gy, &places, case.input, &case.layer).unwrap();
                let gx = gx.to_vec().unwrap();
                expected.assert(&name, &gx);
                if kind == "integers" {
                    let values: Vec<f32> = expected.values.iter().map(|&v| v as f32).collect();
                    assert_same(&name, &gx, &values);
                }
            }
        }
    }
}

/// The contract, in numbers that do not come from the reference.
#[test]
fn who_wins_is_as_in_pytorch() {
    let (nan, inf) = (f32::NAN, f32::INFINITY);
    let cases = [
        ("the first of equals", [1.0, 2.0, 2.0, 1.0], 1),
        ("0.0 ties with -0.0", [-0.0, 0.0, -0.0, 0.0], 0),
        ("the last NaN", [nan, 1.0, nan, 2.0], 2),
        ("NaN above infinity", [inf, nan, inf, inf], 1),
        ("the first of infinities below", [-inf, -inf, -inf, -inf], 0),
        ("anything above them", [-inf, -inf, f32::MIN, -inf], 2),
    ];
    for (device, gpu) in each_gpu() {
        for (name, x, place) in cases {
            let x = tensor(gpu, [1, 1, 2, 2], &x);
            let (y, argmax) = ops::max_pool2d_forward(&x, &MaxPool2d::new(2)).unwrap();
            let name = format!("{name}, {device}");
            assert_eq!(argmax.to_vec().unwrap(), [place], "{name}");
            let value = x.to_vec().unwrap()[place as usize];
            assert_eq!(bits(&y.to_vec().unwrap()), bits(&[value]), "{name}");
        }
        // Padding does not win, not even over negative infinity.
        let x = tensor(gpu, [1, 1, 1, 1], &[-inf]);
        let (y, argmax) = ops::max_pool2d_forward(&x, &MaxPool2d::new(3).padding(1)).unwrap();
        assert_eq!(
            (y.to_vec().unwrap()[0], argmax.to_vec().unwrap()[0]),
            (-inf, 0),
            "{device}"
        );
    }
}

/// More workgroups than a grid has along one dimension.
#[test]
fn a_grid_that_folds_covers_every_window() {
    let case = case("folded", [1, 1, 1100, 2000], MaxPool2d::new(1));
    let x = uniform(&mut random(5), 1100 * 2000);
    for (device, gpu) in poisoned_gpus().take(1) {
        let x_there = tensor(gpu, case.input, &x);
        let (y, argmax) = ops::max_pool2d_forward(&x_there, &case.layer).unwrap();
        assert_bits(device, &y.to_vec().unwrap(), &x);
        let gx = ops::max_pool2d_backward(&y, &argmax, case.input, &case.layer).unwrap();
        assert_bits(device, &gx.to_vec().unwrap(), &x);
    }
}
