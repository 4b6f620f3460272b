//! The kernels of src/gpu/kernels/upsample2d.rs.

use wgpu_cnn::op::{Interpolation, Upsample2dGeometry};
use wgpu_cnn::{Gpu, Shape, Upsample2d, cpu, ops};

use crate::common::{each_gpu, integers, poisoned_gpus, random, tensor, uniform};
use crate::compare::assert_bits;

struct Case {
    name: &'static str,
    /// `(N, C, H, W)`
    input: [usize; 4],
    layer: Upsample2d,
}

impl Case {
    fn geometry(&self) -> Upsample2dGeometry {
        let [batch, image @ ..] = self.input;
        self.layer.geometry(batch, &Shape::from(image)).unwrap()
    }

    /// Holds both passes against the reference: bit for bit where results are copies and sums of whole
    /// numbers, else to a few roundings, however large the extents.
    fn check(&self, name: &str, gpu: &Gpu) {
        let (geometry, name) = (self.geometry(), format!("{}, {name}", self.name));
        let mut rng = random(self.input.iter().sum::<usize>() as u64);
        let x = uniform(&mut rng, geometry.input_len());
        let gy = integers(&mut rng, geometry.output_len());
        let (mut y, mut gx) = (vec![0.0; gy.len()], vec![0.0; x.len()]);
        cpu::upsample2d_forward(&geometry, &x, &mut y).unwrap();
        cpu::upsample2d_backward(&geometry, &gy, &mut gx).unwrap();
        let x = tensor(gpu, self.input, &x);
        let on_gpu = ops::upsample2d_forward(&x, &self.layer).unwrap();
        let gradient = tensor(gpu, on_gpu.shape(), &gy);
        let gradient = ops::upsample2d_backward(&gradient, self.input, &self.layer).unwrap();
        let (on_gpu, gradient) = (on_gpu.to_vec().unwrap(), gradient.to_vec().unwrap());
        if self.layer.interpolation == Interpolation::Nearest {
            assert_bits(&name, &on_gpu, &y);
            assert_bits(&format!("gradient, {name}"), &gradient, &gx);
            return;
        }
        let readers = (geometry.output_len() / geometry.input_len()).max(1) as f32;
        assert_close(&name, &on_gpu, &y, 1e-6);
        assert_close(
            &format!("gradient, {name}"),
            &gradient,
            &gx,
            8e-6 * readers.max(4.0),
        );
    }
}

fn assert_close(name: &str, got: &[f32], expected: &[f32], tolerance: f32) {
    assert_eq!(got.len(), expected.len(), "{name}");
    for (at, (got, expected)) in got.iter().zip(expected).enumerate() {
        let off = (got - expected).abs();
        assert!(off <= tolerance, "{name}[{at}]: {got} is not {expected}");
    }
}

fn cases() -> Vec<Case> {
    let case = |name, input, layer| Case { name, input, layer };
    let (nearest, bilinear) = (Upsample2d::nearest(), Upsample2d::bilinear());
    let corners = bilinear.align_corners(true);
    vec![
        case("one pixel", [1, 1, 1, 1], bilinear),
        case("twice", [2, 3, 5, 4], nearest),
        case(
            "rows of whole vectors",
            [2, 3, 6, 8],
            bilinear.size([9, 12]),
        ),
        case(
            "rows of no whole vectors",
            [2, 3, 6, 8],
            bilinear.size([9, 13]),
        ),
        case("smaller", [2, 2, 9, 11], corners.size([4, 3])),
        case("ignored places", [1, 2, 20, 31], nearest.size([3, 4])),
        case("one to many", [2, 70, 1, 1], bilinear.size([28, 28])),
        case("few to very many", [1, 1, 2, 2], bilinear.size([500, 600])),
        case(
            "few to very many, nearest",
            [1, 2, 1, 2],
            nearest.size([400, 500]),
        ),
        case("corners to many", [1, 3, 2, 3], corners.size([70, 61])),
        // In 32 bits these positions would be off by 2^-8 and more.
        case("long rows", [1, 1, 1, 100_003], bilinear.size([1, 100_000])),
        case(
            "longer rows",
            [1, 1, 1, 1_000_003],
            corners.size([1, 1_000_002]),
        ),
        case(
            "a long scale",
            [1, 1, 1, 70_000],
            bilinear.scale([1.0, 1.23]),
        ),
    ]
}

#[test]
fn every_case_equals_the_reference() {
    for (name, gpu) in each_gpu() {
        for case in cases() {
            case.check(name, gpu);
        }
    }
}

#[test]
fn the_nearest_value_is_the_same_one_on_both_sides_whatever_the_size_or_scale() {
    let Some((name, gpu)) = poisoned_gpus().next() else {
        return;
    };
    let mut rng = random(7);
    for _ in 0..60 {
        let input = [1, 1, rng.usize(1..70), rng.usize(1..400)];
        let layer = match rng.bool() {
            true => Upsample2d::nearest().size([rng.usize(1..70), rng.usize(1..600)]),
            // Tenths, where a product and a quotient differ most often.
            false => Upsample2d::nearest().scale([0; 2].map(|_| rng.u32(10..40) as f64 / 10.0)),
        };
        let name = "random sizes, ".to_string() + name;
        let case = Case {
            name: "nearest",
            input,
            layer,
        };
        case.check(&format!("{name}, {input:?} {layer:?}"), gpu);
    }
}

#[test]
fn what_is_not_finite_goes_where_the_reference_has_it() {
    let odd = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -0.0, 1e-40];
    let layers = [
        Upsample2d::nearest().size([5, 9]),
        Upsample2d::bilinear().size([5, 9]),
        Upsample2d::bilinear().size([3, 7]).align_corners(true),
        Upsample2d::bilinear().size([3, 2]),
    ];
    let kind = |x: &f32| match x {
        x if x.is_nan() => 2.0,
        x if x.is_infinite() => x.signum(),
        _ => 0.0,
    };
    let kinds = |values: &[f32]| values.iter().map(kind).collect::<Vec<f32>>();
    for (name, gpu) in poisoned_gpus() {
        for layer in layers {
            let geometry = layer.geometry(1, &[1, 3, 5].into()).unwrap();
            let some = |len: usize| (0..len).map(|at| odd.get(at * 2 % 7).copied().unwrap_or(2.0));
            let x: Vec<f32> = some(geometry.input_len()).collect();
            let gy: Vec<f32> = some(geometry.output_len()).collect();
            let (mut y, mut gx) = (vec![0.0; gy.len()], vec![0.0; x.len()]);
            cpu::upsample2d_forward(&geometry, &x, &mut y).unwrap();
            cpu::upsample2d_backward(&geometry, &gy, &mut gx).unwrap();
            let on_gpu = ops::upsample2d_forward(&tensor(gpu, [1, 1, 3, 5], &x), &layer).unwrap();
            let gradient = tensor(gpu, on_gpu.shape(), &gy);
            let gradient = ops::upsample2d_backward(&gradient, [1, 1, 3, 5], &layer).unwrap();
            let name = format!("{layer:?}, {name}");
            assert_bits(&name, &kinds(&on_gpu.to_vec().unwrap()), &kinds(&y));
            let expected = kinds(&gx);
            assert_bits(
                &format!("gradient, {name}"),
                &kinds(&gradient.to_vec().unwrap()),
                &expected,
            );
        }
    }
}
