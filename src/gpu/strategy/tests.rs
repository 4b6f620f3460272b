use super::*;
use crate::gpu::work::tests::{convolution, variations};

#[test]
fn tables_preferences_and_choices_name_cores_that_serve() {
    let software = Traits {
        software: true,
        subgroup_size: 8,
        ..Traits::DEFAULT
    };
    for traits in [Traits::DEFAULT, software] {
        for geometry in variations() {
            let matmul = Work::Matmul([64, 10, 300], [false, true]);
            let works = [
                matmul,
                Work::Conv2dForward(geometry),
                Work::Conv2dBackwardInput(geometry),
                Work::Conv2dBackwardWeight(geometry),
            ];
            for work in works {
                let serving = Core::ALL
                    .into_iter()
                    .filter(|&core| serves(core, &traits, &work));
                let serving: Vec<_> = serving.collect();
                let table = core(&traits, &Choices::new(), &work);
                assert!(serving.contains(&table), "{work}: {table:?}");
                for any in Core::ALL {
                    let expected = if serving.contains(&any) { any } else { table };
                    let preferred = Traits {
                        preferred: Some(any),
                        ..traits
                    };
                    assert_eq!(core(&preferred, &Choices::new(), &work), expected);
                    let chosen = Choices::from([(work.to_string(), any)]);
                    assert_eq!(core(&traits, &chosen, &work), expected);
                }
            }
        }
    }
}

#[test]
fn a_large_product_takes_large_tiles_and_a_small_one_small_tiles() {
    let tile = |extents| {
        core(
            &Traits::DEFAULT,
            &Choices::new(),
            &Work::Matmul(extents, [false; 2]),
        )
    };
    assert_eq!(tile([4096, 4096, 4096]), Core::Tiled128);
    assert_eq!(tile([1024, 1024, 64]), Core::Tiled64);
    assert_eq!(tile([64, 128, 128]), Core::Tiled32);
    assert_eq!(tile([32, 1 << 20, 576]), Core::Tiled32); // taller tiles would be half empty
    // A few tiles of long sums are many when these are split.
    let dense = Work::Matmul([64, 128, 1 << 16], [false, true]);
    assert!(
        sum_parts(
            &Traits::DEFAULT,
            &dense,
            core(&Traits::DEFAULT, &Choices::new(), &dense)
        ) > 1
    );
}

#[test]
fn the_parts_of_a_sum_are_within_the_limit_of_loops() {
    let software = Traits {
        software: true,
        ..Traits::DEFAULT
    };
    let long = Work::Conv2dBackwardWeight(Conv2dGeometry {
        batch: 1 << 20,
        ..convolution()
    });
    for core in [Core::Tiled32, Core::Tiled64, Core::Tiled128] {
        let parts = sum_parts(&software, &long, core);
        assert!(tiled_iterations(long.extents().k.div_ceil(parts)) <= LOOP_LIMIT);
    }
}

#[test]
fn parts_that_outgrow_their_room_are_short_enough_for_digits_and_fit_a_binding() {
    // The weight gradient of 512 x 512 x 3 x 3 over 100,000 pixels.
    let [weights, pixels] = [[512, 512 * 9], [100_352, 1 << 24]];
    for traits in [
        Traits::DEFAULT,
        Traits {
            software: true,
            ..Traits::DEFAULT
        },
    ] {
        let parts = pixels.map(|k| {
            let gradient = Work::Matmul([weights[0], weights[1], k], [false, true]);
            let parts = sum_parts(&traits, &gradient, Core::Tiled128);
            (k.div_ceil(parts), parts)
        });
        assert!(parts[0].0 <= LONGEST_OF_IMAGES, "{parts:?}");
        let fit = traits.holds(weights[0] * weights[1]);
        assert!(parts[0].1 <= fit, "{parts:?}");
        // Where a buffer holds fewer, only a limit of loops makes them more.
        assert!(traits.software || parts[1].1 == fit, "{parts:?}");
    }
}

#[test]
#[cfg(feature = "native")]
fn what_tests_take_for_subgroups_of_8_is_what_the_table_takes_for_them() {
    use crate::device::{Capability::Subgroups8, device, plain};
    let Some(gpu) = plain() else { return };
    assert_eq!(Subgroups8.is_on(gpu), gpu.traits().subgroups_of_8());
    let without = device(crate::Gpu::builder().allow_subgroups(false)).unwrap();
    assert!(!Subgroups8.is_on(&without) && !without.traits().subgroups_of_8());
}
