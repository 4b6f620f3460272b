//! Where Winograd's algorithm is taken, and how its tiles are shared.

use super::*;
use crate::gpu::strategy::winograd;

const SOFTWARE: Traits = Traits {
    software: true,
    subgroup_size: 8,
    ..Traits::DEFAULT
};

/// 8 images of 16x16 with 32 channels, but for what is changed.
fn with(change: fn(&mut Conv2dGeometry)) -> Conv2dGeometry {
    let mut geometry = Conv2dGeometry {
        batch: 8,
        in_channels: 32,
        in_size: Size2::from(16),
        out_channels: 32,
        out_size: Size2::from(16),
        padding: [1; 4],
        ..convolution()
    };
    change(&mut geometry);
    geometry
}

/// Whether each pass takes the core for subgroups.
fn takes(traits: Traits, geometry: Conv2dGeometry) -> [bool; 3] {
    let works = [
        Work::Conv2dForward(geometry),
        Work::Conv2dBackwardInput(geometry),
        Work::Conv2dBackwardWeight(geometry),
    ];
    works.map(|work| core(&traits, None, &work) == Core::WinogradSubgroup)
}

#[test]
fn winograds_algorithm_takes_what_has_channels_and_tiles_enough() {
    assert_eq!(takes(SOFTWARE, with(|_| ())), [true; 3]);
    assert_eq!(takes(Traits::DEFAULT, with(|_| ())), [false; 3]);
    let direct = Traits {
        direct_only: true,
        preferred: Some(Core::WinogradSubgroup),
        ..SOFTWARE
    };
    assert_eq!(takes(direct, with(|_| ())), [false; 3]);
    let wide = with(|g| (g.in_channels, g.out_channels) = (16, 64));
    assert_eq!(takes(SOFTWARE, wide), [true, false, true]);
    assert_eq!(takes(SOFTWARE, with(|g| g.in_channels = 16)), [false; 3]);
    assert_eq!(takes(SOFTWARE, with(|g| g.batch = 1)), [false; 3]);
    assert_eq!(takes(SOFTWARE, with(|g| g.groups = 2)), [false; 3]);
    assert_eq!(takes(SOFTWARE, with(|g| g.stride.width = 2)), [false; 3]);
    assert_eq!(takes(SOFTWARE, with(|g| g.kernel.height = 2)), [false; 3]);
    assert_eq!(
        takes(SOFTWARE, with(|g| g.padding[2] = 3)),
        [true, false, true]
    );
    let small = with(|g| (g.batch, g.in_size, g.out_size) = (64, Size2::from(5), Size2::from(5)));
    assert_eq!(takes(SOFTWARE, small), [false; 3]);
    // A tile of as many channels as a U-Net's middle has is computed again within the limit of loops.
    let middle = with(|g| (g.in_channels, g.out_channels) = (1024, 512));
    assert_eq!(takes(SOFTWARE, middle), [true; 3]);
}

/// A filter of one row needs more channels, and a signal may stand upright.
#[test]
fn winograds_algorithm_takes_rows_that_have_channels_enough() {
    let row = |change: fn(&mut Conv2dGeometry)| {
        let mut geometry = with(|g| {
            (g.in_channels, g.out_channels, g.padding) = (64, 64, [0, 0, 1, 1]);
            g.kernel = [1, 3].into();
        });
        change(&mut geometry);
        geometry
    };
    assert_eq!(takes(SOFTWARE, row(|_| ())), [true; 3]);
    assert_eq!(takes(Traits::DEFAULT, row(|_| ())), [false; 3]);
    assert_eq!(takes(SOFTWARE, row(|g| g.in_channels = 48)), [false; 3]);
    let pair = |channels: fn(&mut Conv2dGeometry)| takes(SOFTWARE, row(channels));
    assert_eq!(
        pair(|g| (g.in_channels, g.out_channels) = (32, 128)),
        [true; 3]
    );
    assert_eq!(
        pair(|g| (g.in_channels, g.out_channels) = (16, 256)),
        [false; 3]
    );
    assert_eq!(
        takes(SOFTWARE, row(|g| g.kernel = [3, 1].into())),
        [false; 3]
    );
    let above = row(|g| g.padding[0] = 1);
    assert_eq!(takes(SOFTWARE, above), [true, false, true]);
    let upright = row(|g| {
        (g.in_size, g.out_size) = ([256, 1].into(), [256, 1].into());
        (g.kernel, g.padding) = ([3, 1].into(), [1, 1, 0, 0]);
    });
    assert_eq!(takes(SOFTWARE, upright), [true; 3]);
    assert_eq!(winograd::Winograd::of(&upright, true).tiles, 8 * 64);
}

#[test]
fn the_tiles_of_winograds_algorithm_are_shared_by_chunks_that_have_room() {
    let geometry = Conv2dGeometry {
        batch: 16,
        in_channels: 64,
        in_size: Size2::from(30),
        out_channels: 40,
        out_size: Size2::from(30),
        padding: [1; 4],
        ..convolution()
    };
    let software = Traits {
        software: true,
        ..Traits::DEFAULT
    };
    let plan = winograd::Winograd::of(&geometry, false);
    assert_eq!((plan.tiles, plan.quads, plan.octets), (16 * 64, 16, 6));
    assert!(!plan.wide, "two tiles of 32 would be half empty");
    let chunks = plan.chunks(&software);
    let tiles = plan.chunk(chunks);
    assert_eq!((chunks, tiles), (4, 256));
    assert!(plan.scratch(tiles).iter().sum::<usize>() <= 1 << 20);
    let tight = Traits {
        max_binding: 36 * 64 * 64 * 4,
        ..software
    };
    assert_eq!(plan.chunk(plan.chunks(&tight)), 64);
    // A weight gradient's sums over a chunk are no longer than 1,024.
    let few = Conv2dGeometry {
        batch: 64,
        in_channels: 4,
        out_channels: 4,
        ..geometry
    };
    let plan = winograd::Winograd::of(&few, false);
    let counts = [
        plan.chunks(&software),
        plan.weight_chunks(&software, winograd::Form::Subgroup),
    ];
    assert_eq!(counts.map(|count| plan.chunk(count)), [1408, 1024]);
    // On the blocked product they are in parts, so that each of a GPU's units has work, and none has too little.
    let gpu = with_units(132);
    let parts = |tiles| plan.weight_parts(&gpu, winograd::Form::Tiled, &few, tiles);
    assert_eq!([8192, 256, 64, 1].map(parts), [11, 4, 1, 1]);
    assert_eq!(
        plan.weight_parts(&gpu, winograd::Form::Subgroup, &few, 8192),
        1
    );
}

#[test]
fn winograd_on_the_blocked_product_is_for_many_channels_that_fill_a_gpu() {
    let takes = |traits: &Traits, geometry| {
        let works = [
            Work::Conv2dForward(geometry),
            Work::Conv2dBackwardInput(geometry),
            Work::Conv2dBackwardWeight(geometry),
        ];
        works.map(|work| core(traits, None, &work) == Core::WinogradTiled)
    };
    let gpu = with_units(132);
    for large in [
        square(64, [128, 128], 28),
        square(16, [256, 256], 14),
        square(32, [512, 512], 7),
    ] {
        assert_eq!(takes(&gpu, large), [true; 3]);
        let direct = Traits {
            direct_only: true,
            ..gpu
        };
        assert_eq!(takes(&direct, large), [false; 3]);
        let software = Traits {
            software: true,
            ..gpu
        };
        assert_eq!(takes(&software, large), [false; 3]);
    }
    for small in [
        square(64, [32, 64], 112),
        square(8, [64, 64], 28),
        square(8, [128, 128], 8),
        square(8, [512, 512], 2),
    ] {
        assert_eq!(takes(&gpu, small), [false; 3]);
    }
    // Filters of one row serve, for the autotuner.
    let row = Conv2dGeometry {
        kernel: [1, 3].into(),
        padding: [0, 0, 1, 1],
        ..square(32, [512, 512], 28)
    };
    assert_eq!(takes(&gpu, row), [false; 3]);
    let work = Work::Conv2dForward(row);
    assert!(candidates(&gpu, &work).contains(&Core::WinogradTiled));
    // What 64 channels spare in a weight gradient, they move.
    assert_eq!(takes(&gpu, square(64, [64, 64], 56)), [true, true, false]);
}
