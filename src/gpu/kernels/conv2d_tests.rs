//! Tests of which kernels convolutions take, and of what they say of themselves.

use super::*;
use crate::gpu::strategy::Traits;
use crate::gpu::work::tests::variations;
use crate::{Activation, Conv2d, Shape};

#[test]
fn the_wide_kernel_has_room_for_the_taps_that_it_is_given() {
    let most = strategy::WIDE_TAPS;
    assert!((1..=most).all(|taps| (taps..=most).contains(&strategy::wide_room(taps))));
    let room = format!("override ROOM: u32 = {}u;", 4 * most);
    assert!(DIRECT_WIDE_FORWARD.source.contains(&room));
}

/// Few tiles of long sums: the parts are written as they are, and what adds them up has the epilogue.
#[test]
fn parts_of_few_tiles_are_added_with_bias_and_activation() {
    let geometry = Conv2d::new(512, 3).padding(1);
    let geometry = geometry.geometry(8, &Shape::from([512, 7, 7])).unwrap();
    for core in [
        Core::Tiled32,
        Core::Tiled64,
        Core::Tiled128,
        Core::TiledLean,
    ] {
        let mut recording = Recording::new(Traits {
            compute_units: 132,
            preferred: Some(core),
            ..Traits::DEFAULT
        });
        let lengths = [geometry.input_len(), geometry.weight_len(), 512];
        let [x, w, b] = lengths.map(|len| recording.transient("values", len));
        let y = Output {
            activation: Some(Activation::Relu),
            ..recording.transient("values", geometry.output_len()).into()
        };
        forward(&mut recording, &geometry, [x, w], Some(b), y);
        let [_pack, product, sum] = &recording.dispatches[..] else {
            panic!("{} dispatches", recording.dispatches.len())
        };
        assert!(product.workgroups[2] > 1, "{:?}", product.workgroups);
        assert_eq!((product.bindings[2], sum.bindings[1]), (None, Some(b)));
        assert_eq!(sum.kernel.name, reduce::PARTS.name);
        let [applied, none] = [sum, product].map(|dispatch| {
            let mut constants = dispatch.constants.iter();
            let constant = constants.find(|(name, _)| *name == "ACTIVATION");
            constant.map(|(_, value)| *value)
        });
        assert_eq!(applied, Some(f64::from(Activation::Relu.code())));
        assert_eq!(none, Some(0.0));
    }
}

/// What a core says that it can do it can: the loops of its kernels are as long as it took them to be.
#[test]
fn a_core_that_serves_keeps_within_the_limits_of_loops() {
    let software = Traits {
        software: true,
        subgroup_size: 8,
        ..Traits::DEFAULT
    };
    let strides = |channels: [usize; 2], kernel: usize, stride: usize, pixels: usize| {
        let layer = Conv2d::new(channels[1], kernel).stride(stride);
        let image = Shape::from([channels[0], pixels, pixels]);
        layer.geometry(1, &image).unwrap()
    };
    let long = [
        strides([3, 768], 16, 16, 64),
        strides([3, 384], 14, 14, 56),
        strides([3, 1024], 8, 8, 32),
        strides([1, 64], 32, 32, 64),
        strides([2, 4096], 4, 2, 8),
        strides([512, 8], 3, 1, 9),
        strides([4096, 2], 4, 1, 9),
    ];
    for geometry in variations().into_iter().chain(long) {
        for core in strategy::Core::ALL {
            let traits = Traits {
                preferred: Some(core),
                ..software
            };
            let mut recording = Recording::new(traits);
            let place = |recording: &mut Recording, len| recording.transient("values", len);
            let x = place(&mut recording, geometry.input_len());
            let w = place(&mut recording, geometry.weight_len());
            let y = place(&mut recording, geometry.output_len());
            forward(&mut recording, &geometry, [x, w], None, y.into());
            backward_input(&mut recording, &geometry, [y, w], None, x.into());
            let bias = place(&mut recording, geometry.out_channels);
            backward_weight(&mut recording, &geometry, [x, y], (w, Some(bias)));
            if let Err(error) = recording.finish() {
                panic!("{geometry:?} on {}: {error}", core.name());
            }
        }
    }
}

/// GPUs whose registers are few unroll nothing, and compute fewer channels of a first layer at once.
#[test]
fn few_registers_are_not_asked_for_more() {
    let constants = |core, channels, few_registers| {
        let layer = Conv2d::new(64, 3).padding(1);
        let geometry = layer.geometry(8, &Shape::from([channels, 16, 16])).unwrap();
        let mut recording = Recording::new(Traits {
            few_registers,
            preferred: Some(core),
            ..Traits::DEFAULT
        });
        let lengths = [geometry.input_len(), geometry.weight_len()];
        let inputs = lengths.map(|len| recording.transient("values", len));
        let y = recording.transient("values", geometry.output_len());
        forward(&mut recording, &geometry, inputs, None, y.into());
        let constants = recording
            .dispatches
            .iter()
            .flat_map(|d| d.constants.clone());
        constants
            .filter(|(name, _)| ["INNER", "QUADS"].contains(name))
            .collect::<Vec<_>>()
    };
    assert_eq!(constants(Core::Tiled128, 16, true), [("INNER", 1.0)]);
    assert_eq!(constants(Core::Tiled128, 16, false), []);
    assert_eq!(constants(Core::Direct, 3, true), [("QUADS", 4.0)]);
    assert_eq!(constants(Core::Direct, 3, false), [("QUADS", 8.0)]);
}
