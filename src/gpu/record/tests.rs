//! Grids, formats and limits of what is recorded.

use super::*;
use crate::Activation;
use crate::gpu::kernels::Output;
use crate::gpu::kernels::broadcast::add;

#[test]
fn grids_fold_where_one_dimension_does_not_hold_them() {
    assert_eq!(folded(1), [1, 1]);
    assert_eq!(folded(FOLD), [FOLD, 1]);
    assert_eq!(folded(FOLD + 1), [FOLD, 2]);
    assert_eq!(folded(3 * FOLD), [FOLD, 3]);
    let fold = include_str!("../../../shaders/core/flat.wgsl");
    assert!(fold.contains(&format!("const FOLD: u32 = {FOLD}u;")));
}

#[test]
fn a_dispatch_knows_its_formats_and_a_kernel_without_f16_refuses_it() {
    use crate::gpu::kernels::reduce::bias_gradient;
    let mut recording = Recording::new(Traits::DEFAULT);
    let half = recording.buffer_of(Format::F16, "half", 40, Storage::Transient);
    let single = recording.transient("single", 40);
    assert_eq!((half.size, single.size), (80, 160));
    add(&mut recording, 40, [half, single], half.into());
    let expected = [Format::F16, Format::F32, Format::F32, Format::F16];
    assert_eq!(recording.dispatches[0].formats, expected);
    let kernel = recording.dispatches[0].kernel;
    let said = "enable f16; alias Left = f16; alias Right = f32; alias Saved = f32; \
                alias Output = f16; // Two values";
    assert!(
        kernel
            .wgsl(&Variant::of(&expected, &[], None))
            .starts_with(said)
    );
    assert!(
        !kernel
            .wgsl(&Variant::of(&[Format::F32; 4], &[], None))
            .contains("f16")
    );
    bias_gradient(&mut recording, [1, 2, 20], half, single);
    let error = recording.finish().unwrap_err();
    assert!(
        error
            .to_string()
            .contains("reduce_bias has no f16 at binding 0")
    );
}

#[test]
fn kept_arguments_are_a_region_of_their_dispatch_alone() {
    let mut recording = Recording::new(Traits::DEFAULT);
    let [x, y, argument] = [(); 3].map(|()| recording.transient("", 16));
    let kept = Output {
        activation: Some(Activation::Gelu),
        argument: Some(argument),
        ..y.into()
    };
    add(&mut recording, 16, [x, x], kept);
    add(&mut recording, 16, [x, x], y.into());
    let [first, second] = &recording.dispatches[..] else {
        panic!("two dispatches");
    };
    assert_eq!((first.argument, second.argument), (Some(argument), None));
    assert!(first.regions().any(|&region| region == argument));
    assert_ne!(first.key(), second.key());
    assert!(recording.assign().slots[argument.buffer.0].is_some());
}

#[test]
fn what_breaks_a_limit_is_found_when_the_recording_ends() {
    let mut recording = Recording::new(Traits {
        max_binding: 64,
        ..Traits::DEFAULT
    });
    recording.set_label("layer 1");
    let (small, large) = (
        recording.transient("small", 16),
        recording.transient("large", 17),
    );
    add(&mut recording, 16, [small, small], small.into());
    add(&mut recording, 17, [large, small], small.into());
    let error = recording.finish().unwrap_err();
    let said = "layer 1: large needs max_storage_buffer_binding_size of 80, the device has 64";
    assert_eq!(error.to_string(), said);
}

#[test]
fn what_follows_from_a_fast_algorithm_is_spread() {
    let mut recording = Recording::new(Traits::DEFAULT);
    let [a, b, c, d] = [(); 4].map(|()| recording.transient("", 16));
    add(&mut recording, 16, [a, a], b.into());
    recording.stands_for(1);
    add(&mut recording, 16, [b, a], c.into());
    add(&mut recording, 16, [a, a], d.into());
    let spread = |range: std::ops::Range<usize>, region| recording.is_spread(range, &region);
    assert_eq!(
        [a, b, c, d].map(|region| spread(0..3, region)),
        [false, true, true, false]
    );
    assert!(!spread(1..3, c));
}
