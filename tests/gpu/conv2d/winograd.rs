//! Winograd's algorithm, and what is not finite in it.

use super::*;
use crate::device::Capability::Subgroups8;

/// What the cores for Winograd's algorithm serve: 3x3 and 1x3 at stride 1.
fn winograd_cases() -> Vec<Case> {
    let layer = |channels| Conv2d::new(channels, 3);
    let row = |channels| Conv2d::new(channels, [1, 3]).padding([0, 1]);
    vec![
        case(
            "rows of a subgroup's tiles",
            [2, 6, 9, 32],
            layer(32).padding(1),
        ),
        case(
            "rows of more tiles than lanes",
            [1, 3, 5, 44],
            layer(7).padding(1),
        ),
        case("no padding, odd", [2, 5, 11, 13], layer(36)),
        case(
            "more padding than kernel",
            [2, 3, 6, 7],
            layer(4).padding(3),
        ),
        case(
            "much padding, whole vectors",
            [1, 2, 4, 8],
            layer(4).padding(5),
        ),
        case(
            "four-sided, whole vectors",
            [3, 4, 7, 12],
            layer(18).padding([2, 0, 1, 2]),
        ),
        case("smaller than a tile", [5, 2, 2, 3], layer(3).padding(1)),
        case("one result", [70, 3, 3, 3], layer(2)),
        case("several chunks", [4, 12, 22, 20], layer(600).padding(1)),
        case("groups", [2, 14, 9, 10], layer(38).padding(1).groups(2)),
        case("groups in parts", [70, 6, 3, 3], layer(4).groups(2)),
        case("signals, whole vectors", [3, 6, 1, 44], row(33)),
        case("signals, odd", [2, 5, 1, 61], row(7).padding([0, 0, 0, 2])),
        case("rows of images", [2, 6, 9, 32], row(18)),
        case(
            "rows of images, padding above",
            [2, 3, 6, 7],
            row(4).padding([1, 2, 3, 0]),
        ),
        case("signals in chunks", [4, 12, 1, 1100], row(600)),
        case("signals in groups", [70, 6, 1, 5], row(4).groups(2)),
        case(
            "signals that stand upright",
            [2, 5, 60, 1],
            Conv2d::new(7, [3, 1]).padding([2, 1, 0, 0]),
        ),
    ]
}

#[test]
fn convolutions_by_winograds_algorithm_equal_the_reference() {
    fn asked(device: &str) -> bool {
        let others = ["strided", "depthwise", "unfolded", "fft", "direct"];
        !others.contains(&device) && !device.starts_with("tiled")
    }
    run_on(&winograd_cases(), asked);
}

/// With the largest tiles of the blocked product.
#[test]
fn large_products_of_winograds_algorithm_equal_the_reference() {
    let layer = |channels| Conv2d::new(channels, 3).padding(1);
    let cases = [
        case("weights in three columns", [2, 130, 12, 12], layer(128)),
        case("images", [4, 4, 16, 16], layer(1000)),
        case("weights in chunks and parts", [16, 64, 12, 12], layer(128)),
    ];
    run_on(&cases, |device| device == "winograd-tiled");
}

/// What is not finite comes out where it does by the definition, and nowhere else; and what overflows in a transform
/// alone does not.
pub(super) fn keeps_what_is_not_finite(case: &Case, asked: fn(&str) -> bool) {
    type Spoil = fn(&mut Data);
    let spoiled: [(&str, Spoil); 7] = [
        ("a NaN", |data| {
            data.x[77] = f32::NAN;
            data.gradient_output[131] = f32::NAN;
        }),
        ("infinities", |data| {
            (data.x[13], data.x[15]) = (f32::INFINITY, f32::NEG_INFINITY);
            data.gradient_output[200] = f32::NEG_INFINITY;
        }),
        ("infinity times zero", |data| {
            data.x[40] = f32::INFINITY;
            data.gradient_output[40] = f32::INFINITY;
            data.weight.iter_mut().step_by(2).for_each(|w| *w = 0.0);
        }),
        ("a NaN among the weights", |data| data.weight[12] = f32::NAN),
        ("an infinite weight", |data| data.weight[31] = f32::INFINITY),
        ("what overflows on the way", |data| {
            let large = |values: &mut [f32]| values.iter_mut().for_each(|v| *v *= 3e38);
            large(&mut data.x);
            large(&mut data.gradient_output);
            data.weight.iter_mut().for_each(|w| *w *= 1e-3);
        }),
        ("what overflows in the input", |data| {
            data.x.iter_mut().for_each(|v| *v *= 3e38);
            let small = |values: &mut [f32]| values.iter_mut().for_each(|v| *v *= 1e-4);
            small(&mut data.gradient_output);
            small(&mut data.weight);
        }),
    ];
    for (name, spoil) in &spoiled {
        let mut data = Data::new(&case.geometry(), uniform);
        spoil(&mut data);
        let (inner, expected) = (inner(case), expected(case, &data));
        let overflows = name.starts_with("what overflows");
        // Where a core does not serve, the device takes a blocked product, which multiplies zeros beyond the edge.
        let serves = |device, gpu| device != "winograd-subgroup" || Subgroups8.is_on(gpu);
        let asked = each_core().filter(|&(device, gpu)| asked(device) && serves(device, gpu));
        for (device, gpu) in asked {
            let results = on_gpu(gpu, case, &data);
            // The weight gradient of large numbers on both sides overflows by its definition.
            let defined = if name.ends_with("on the way") { 2 } else { 3 };
            let count = spread(device).min(defined);
            for (at, (expected, got)) in expected.iter().zip(&results).take(count).enumerate() {
                let name = format!("{name}, {}, {}, {device}", case.name, RESULTS[at]);
                expected.spread(inner[at]).assert(&name, got);
                let spoiled = expected.values.iter().any(|value| !value.is_finite());
                let weights = name.contains("weight,") || name.contains("weights,");
                assert_eq!(spoiled, !(overflows || weights && at == 2), "{name}");
            }
        }
    }
}

#[test]
fn winograds_algorithm_keeps_nan_and_infinity_where_they_belong() {
    for size in [[2, 3, 9, 12], [2, 3, 7, 9]] {
        let case = case("spoiled", size, Conv2d::new(5, 3).padding(1));
        keeps_what_is_not_finite(&case, |device| device.starts_with("winograd"));
    }
    let row = || Conv2d::new(5, [1, 3]).padding([0, 1]);
    for (name, size, layer) in [
        ("signals", [2, 3, 1, 60], row()),
        ("rows", [2, 3, 6, 9], row().padding([0, 1, 2, 0])),
        (
            "upright signals",
            [2, 3, 60, 1],
            Conv2d::new(5, [3, 1]).padding([0, 1, 0, 0]),
        ),
    ] {
        let case = case(name, size, layer);
        keeps_what_is_not_finite(&case, |device| device.starts_with("winograd"));
    }
}
