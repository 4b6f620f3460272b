mod fourier;
#[cfg(feature = "native")]
mod lean;
mod winograd;

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
                let table = core(&traits, None, &work);
                assert!(serving.contains(&table), "{work}: {table:?}");
                for any in Core::ALL {
                    let expected = if serving.contains(&any) { any } else { table };
                    let preferred = Traits {
                        preferred: Some(any),
                        ..traits
                    };
                    assert_eq!(core(&preferred, None, &work), expected);
                    assert_eq!(core(&traits, Some(any), &work), expected);
                }
            }
        }
    }
}

#[test]
fn a_large_product_takes_large_tiles_and_a_small_one_small_tiles() {
    let tile = |extents| core(&Traits::DEFAULT, None, &Work::Matmul(extents, [false; 2]));
    assert_eq!(tile([4096, 4096, 4096]), Core::Tiled128);
    assert_eq!(tile([1024, 1152, 64]), Core::Tiled64); // 72 large ones would take 64 units two turns
    assert_eq!(tile([64, 128, 128]), Core::Tiled32);
    assert_eq!(tile([32, 1 << 20, 576]), Core::Tiled32); // taller tiles would be half empty
}

/// A convolution of square images at stride 1 that keeps their size.
fn square(batch: usize, [from, to]: [usize; 2], side: usize) -> Conv2dGeometry {
    Conv2dGeometry {
        batch,
        in_channels: from,
        in_size: Size2::from(side),
        out_channels: to,
        out_size: Size2::from(side),
        padding: [1; 4],
        ..convolution()
    }
}

fn with_units(compute_units: u32) -> Traits {
    Traits {
        compute_units,
        ..Traits::DEFAULT
    }
}

/// What an NVIDIA H100 or H200, of 132 units both, took with each tile, in its order in `Core::ALL`, in microseconds.
#[test]
fn the_tile_that_is_taken_is_one_that_was_measured_to_be_fast() {
    let forward = |batch, channels, side| Work::Conv2dForward(square(batch, channels, side));
    let weight = |batch, channels, side| Work::Conv2dBackwardWeight(square(batch, channels, side));
    let measured = [
        (forward(64, [64, 64], 56), [526, 451, 764]),
        (forward(64, [128, 128], 28), [496, 435, 382]),
        (forward(64, [256, 256], 14), [495, 429, 384]),
        (forward(64, [512, 512], 7), [495, 425, 383]),
        (forward(64, [64, 64], 16), [65, 45, 71]),
        (forward(64, [32, 32], 32), [68, 87, 143]),
        (weight(64, [64, 64], 56), [593, 499, 836]),
        (weight(64, [128, 128], 28), [588, 498, 428]),
        (weight(64, [256, 256], 14), [587, 499, 427]),
        (weight(64, [512, 512], 7), [588, 548, 474]),
        (weight(64, [64, 64], 16), [75, 50, 76]),
        (weight(32, [64, 64], 56), [394, 260, 438]),
    ];
    for (work, microseconds) in measured {
        let traits = Traits {
            direct_only: true,
            ..with_units(132)
        };
        let taken = core(&traits, None, &work);
        let place = Core::ALL.into_iter().position(|core| core == taken);
        let time = place.and_then(|place| microseconds.get(place)).copied();
        assert_eq!(time, microseconds.into_iter().min(), "{work}: {taken:?}");
    }
}

#[test]
fn sums_are_split_where_tiles_are_fewer_than_units() {
    let split = |units, work| {
        let traits = Traits {
            direct_only: true,
            ..with_units(units)
        };
        let core = core(&traits, None, &work);
        (core, sum_parts(&traits, &work, core))
    };
    let few = square(8, [512, 512], 7);
    for work in [Work::Conv2dForward(few), Work::Conv2dBackwardInput(few)] {
        for units in [64, 132] {
            let (core, parts) = split(units, work);
            let groups = work.extents().tiles(core.tile()) * parts;
            let turns = groups as f64 / f64::from(units);
            assert!(parts > 1 && turns > 0.8, "{parts} parts on {core:?}");
            assert!(work.extents().k / parts >= 256, "{parts} parts on {core:?}");
        }
        assert_eq!(split(1, work).1, 1);
    }
    // There are enough of them, or the sums are short.
    assert_eq!(
        split(132, Work::Conv2dForward(square(64, [64, 64], 56))).1,
        1
    );
    assert_eq!(split(132, Work::Conv2dForward(square(8, [32, 64], 7))).1, 1);
    // Parts take room: a gigabyte of results has no second half.
    let large = square(1 << 14, [512, 512], 7);
    assert_eq!(split(u32::MAX, Work::Conv2dForward(large)).1, 1);
    // A few tiles of long sums are many when these are split.
    let dense = Work::Matmul([64, 128, 1 << 13], [false, true]);
    assert!(split(64, dense).1 > 8);
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
    for core in [
        Core::Tiled32,
        Core::Tiled64,
        Core::Tiled128,
        Core::TiledLean,
    ] {
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

#[test]
fn depthwise_convolutions_take_their_core_within_its_limits() {
    let depthwise = Conv2dGeometry {
        groups: 8,
        in_channels: 8,
        in_size: Size2::from(16),
        out_channels: 8,
        out_size: Size2::from(16),
        padding: [1; 4],
        ..convolution()
    };
    let with = |change: fn(&mut Conv2dGeometry)| {
        let mut geometry = depthwise;
        change(&mut geometry);
        geometry
    };
    let software = Traits {
        software: true,
        subgroup_size: 8,
        ..Traits::DEFAULT
    };
    for traits in [Traits::DEFAULT, software] {
        let takes = |geometry| {
            let works = [
                Work::Conv2dForward(geometry),
                Work::Conv2dBackwardInput(geometry),
                Work::Conv2dBackwardWeight(geometry),
            ];
            works.map(|work| core(&traits, None, &work) == Core::Depthwise)
        };
        assert_eq!(takes(depthwise), [true; 3]);
        assert_eq!(takes(with(|g| g.kernel = Size2::from(7))), [true; 3]);
        assert_eq!(takes(with(|g| g.stride = Size2::from(2))), [true; 3]);
        assert_eq!(takes(with(|g| g.dilation = Size2::from(3))), [true; 3]);
        assert_eq!(takes(with(|g| g.kernel.width = 8)), [false; 3]);
        assert_eq!(takes(with(|g| g.stride.height = 3)), [false; 3]);
        let both = with(|g| (g.stride.width, g.dilation.width) = (2, 2));
        assert_eq!(takes(both), [false; 3]);
        assert_eq!(takes(with(|g| g.dilation.height = 17)), [false; 3]);
        assert_eq!(takes(with(|g| g.in_channels = 16)), [false; 3]);
        // The input gradient is a sum over the channels that are made of one, and its window must not lie
        // apart from the pixel.
        assert_eq!(takes(with(|g| g.out_channels = 16)), [true, false, true]);
        assert_eq!(takes(with(|g| g.padding[0] = 3)), [true, false, true]);
    }
}

#[test]
fn groups_share_loads_in_a_subgroup_where_they_have_channels_to_share_them_with() {
    let software = Traits {
        software: true,
        subgroup_size: 8,
        ..Traits::DEFAULT
    };
    let takes = |channels: [usize; 2], groups, stride| {
        let geometry = Conv2dGeometry {
            groups,
            in_channels: channels[0] * groups,
            out_channels: channels[1] * groups,
            stride: Size2::from(stride),
            ..convolution()
        };
        core(&software, None, &Work::Conv2dForward(geometry))
    };
    assert_eq!(takes([8, 8], 4, 1), Core::Rows);
    assert_eq!(takes([4, 2], 32, 1), Core::Rows);
    assert_eq!(takes([8, 8], 4, 2), Core::Strided);
    assert_eq!(takes([4, 1], 8, 1), Core::Direct);
    assert_eq!(takes([1, 1], 1, 1), Core::Rows);
    // A tile for each group, along one dimension of the grid.
    assert_eq!(takes([2, 2], 65_535, 1), Core::Rows);
    assert_eq!(takes([2, 2], 65_536, 1), Core::Direct);
}

#[test]
fn segments_fill_a_device_and_none_is_too_long() {
    let traits = Traits::DEFAULT;
    assert_eq!(segments(&traits, 1 << 20, 56, 4096), 1);
    assert_eq!(segments(&traits, 1 << 14, 56, 4096), 4);
    assert_eq!(segments(&traits, 1, 56, 4096), 7); // of 8 rows
    assert_eq!(segments(&traits, 1 << 20, 263_000, 4096), 65);
    assert_eq!(segments(&traits, 0, 0, 32), 1);
    // As many as a device wants, as the longest sum allows, as there are, and as have room.
    assert_eq!(segment_parts(&traits, 64, 576, 100_000), 1024);
    assert_eq!(segment_parts(&traits, 1 << 16, 9 << 16, 1 << 9), 4);
    assert_eq!(segment_parts(&traits, 64, 576, 40), 40);
    assert_eq!(segment_parts(&traits, 64, 1 << 20, 4000), 4);
}

#[test]
fn unfolded_images_take_short_rows_with_channels_enough() {
    let software = Traits {
        software: true,
        subgroup_size: 8,
        ..Traits::DEFAULT
    };
    let takes = |traits: Traits, geometry| {
        let works = [
            Work::Conv2dForward(geometry),
            Work::Conv2dBackwardInput(geometry),
            Work::Conv2dBackwardWeight(geometry),
        ];
        works.map(|work| core(&traits, None, &work) == Core::Unfolded)
    };
    let with = |change: fn(&mut Conv2dGeometry)| {
        let mut geometry = square(8, [64, 64], 2);
        change(&mut geometry);
        geometry
    };
    assert_eq!(takes(software, with(|_| ())), [true; 3]);
    // Batches of all sizes share their weights.
    assert_eq!(takes(software, with(|g| g.batch = 1)), [true; 3]);
    let wide = |side| square(2, [64, 64], side);
    assert_eq!(takes(software, wide(4)), [false, false, true]);
    assert_eq!(takes(software, wide(5)), [false; 3]);
    for refused in [
        with(|g| g.groups = 2),
        with(|g| g.in_channels = 63),
        with(|g| g.out_channels = 63),
        // Columns of many pixels, as of signals on their side.
        with(|g| (g.in_size.height, g.out_size.height) = (4096, 4096)),
    ] {
        assert_eq!(takes(software, refused), [false; 3], "{refused:?}");
    }
    assert_eq!(takes(Traits::DEFAULT, with(|_| ())), [false; 3]);
    let preferring = Traits {
        preferred: Some(Core::Unfolded),
        ..software
    };
    assert_eq!(takes(preferring, wide(5)), [true; 3]);
    assert_eq!(takes(preferring, with(|g| g.groups = 2)), [false; 3]);
}

#[test]
fn tiles_of_64_rows_are_for_large_products_that_fill_all_cores() {
    let traits = Traits {
        software: true,
        subgroup_size: 8,
        compute_units: 4,
        ..Traits::DEFAULT
    };
    let rows = |extents, parts| subgroup_rows(&traits, extents, parts);
    assert_eq!(rows([512, 32, 4608], 1), 64);
    assert_eq!(rows([448, 32, 4608], 1), 16, "seven tiles for four cores");
    assert_eq!(rows([448, 32, 4682], 2), 64, "fourteen");
    assert_eq!(
        rows([32, 4096, 4096], 1),
        16,
        "no more rows than half a tile"
    );
    assert_eq!(rows([64, 128, 1024], 4), 16, "small");
    assert_eq!(rows([usize::MAX, 3, 3], 1), 64, "no overflow");
    // Those of tests/gpu/matmul.rs, on devices with as many units as those of that suite.
    let traits = Traits {
        compute_units: 256,
        ..traits
    };
    for extents in [[1030, 990, 67], [1088, 1024, 64]] {
        assert_eq!(subgroup_rows(&traits, extents, 1), 64);
    }
}
