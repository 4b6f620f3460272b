//! Which convolutions take Fourier transforms, and how their blocks are shared.

use super::*;

/// Signals or images that keep their size, with the taps of a filter along either side.
fn long(batch: usize, channels: usize, size: [usize; 2], kernel: [usize; 2]) -> Conv2dGeometry {
    let [in_size, kernel]: [Size2; 2] = [size.into(), kernel.into()];
    let padding = [kernel.height, kernel.width].map(|taps| [taps / 2, (taps - 1) / 2]);
    Conv2dGeometry {
        batch,
        in_channels: channels,
        in_size,
        out_channels: channels,
        out_size: in_size,
        kernel,
        padding: [padding[0][0], padding[0][1], padding[1][0], padding[1][1]],
        ..convolution()
    }
}

#[test]
fn fourier_transforms_take_large_filters() {
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
        works.map(|work| core(&traits, None, &work) == Core::Fft)
    };
    let signal = |taps| long(1, 16, [1, 16_384], [1, taps]);
    let image = |side, taps| long(4, 16, [side; 2], [taps; 2]);
    for (geometry, expected) in [
        (signal(1024), true),
        (signal(128), true),
        (signal(32), false),
        (image(64, 15), true),
        (image(128, 31), true),
        (image(64, 9), false),
        (image(16, 15), false),
    ] {
        assert_eq!(takes(software, geometry), [expected; 3], "{geometry:?}");
    }
    // Sums that are too long for an invocation, where they are made again, are shared by several.
    let many = Conv2dGeometry {
        batch: 200,
        ..signal(1024)
    };
    assert_eq!(takes(software, many), [true; 3]);
    let shares = [1, 30, 200, 5000].map(|batch| fft::shares(&Conv2dGeometry { batch, ..many }));
    assert_eq!(shares, [1, 2, 8, 64]);
    // Tiles of 16 channels would be nearly empty in its gradients.
    let first = Conv2dGeometry {
        in_channels: 1,
        ..long(16, 16, [1, 4096], [1, 64])
    };
    assert_eq!(takes(software, first), [false, true, true]);
    // On GPUs nothing was measured.
    assert_eq!(takes(Traits::DEFAULT, signal(1024)), [false; 3]);
    let direct = Traits {
        direct_only: true,
        preferred: Some(Core::Fft),
        ..software
    };
    assert_eq!(takes(direct, signal(1024)), [false; 3]);
    // Numbers that are not counted with are refused, and not multiplied.
    let huge = Conv2dGeometry {
        dilation: Size2::from(1 << 50),
        padding: [1 << 61; 4],
        ..image(64, 15)
    };
    let preferring = Traits {
        preferred: Some(Core::Fft),
        ..software
    };
    assert_eq!(takes(preferring, huge), [false; 3]);
    let strided = Conv2dGeometry {
        stride: Size2::from(2),
        out_size: Size2 {
            height: 1,
            width: 8192,
        },
        ..signal(1024)
    };
    assert_eq!(takes(software, strided), [false; 3]);
}

#[test]
fn blocks_of_fourier_transforms_that_serve_have_room() {
    let software = Traits {
        software: true,
        subgroup_size: 8,
        ..Traits::DEFAULT
    };
    let signal = |from, to, size, kernel| Conv2dGeometry {
        in_channels: from,
        out_channels: to,
        ..long(1, 1, size, kernel)
    };
    let mut served = [0; 2];
    for geometry in [
        signal(1, 128, [8, 8192], [40, 40]),
        signal(128, 1, [8, 8192], [40, 40]),
        signal(4, 300, [1, 9000], [1, 2000]),
        signal(1000, 4, [1, 9000], [1, 70]),
        signal(1 << 11, 1, [1, 90], [1, 70]),
        signal(1, 1 << 11, [1, 90], [1, 70]),
    ] {
        for work in [
            Work::Conv2dForward(geometry),
            Work::Conv2dBackwardInput(geometry),
            Work::Conv2dBackwardWeight(geometry),
        ] {
            let serves = serves(Core::Fft, &software, &work);
            served[usize::from(serves)] += 1;
            if !serves {
                continue;
            }
            let plan = fft::Fft::of_work(&work).unwrap();
            let [values, sums] = plan.scratch(plan.chunk(plan.chunks(&software)));
            for elements in [values, sums, plan.weights] {
                assert!(software.holds(elements) > 0, "{work}: {elements}");
            }
        }
    }
    assert!(served[0] > 0 && served[1] > 6, "{served:?}");
    // What an input gradient reads has the channels of the output, and its weights are those of the forward pass.
    let geometry = signal(1, 128, [8, 8192], [40, 40]);
    let [forward, gradient] = [
        Work::Conv2dForward(geometry),
        Work::Conv2dBackwardInput(geometry),
    ]
    .map(|work| fft::Fft::of_work(&work).unwrap());
    assert_eq!((forward.quads, gradient.quads), ([1, 32], [32, 1]));
    assert_eq!(forward.weights, gradient.weights);
}

#[test]
fn blocks_are_shared_by_taps_and_results() {
    let plan = |size: [usize; 2], kernel| {
        let geometry = long(1, 4, size, kernel);
        fft::Fft::of(&geometry)
    };
    let side = |span, reach, parts, tiles| fft::Side {
        span,
        reach,
        parts,
        tiles,
    };
    assert_eq!(plan([1, 4096], [1, 64]).across, side(1985, 64, 1, 3));
    assert_eq!(plan([1, 4096], [1, 1025]).across, side(1024, 1025, 1, 4));
    // Beyond half a block, a filter has parts, each of which reads a tile further on.
    let parts = plan([1, 4096], [1, 1026]);
    assert_eq!(parts.across, side(1024, 1024, 2, 5));
    assert_eq!((parts.down, parts.behind()), (side(1, 1, 1, 1), 1));
    let plane = plan([40, 100], [15, 40]);
    assert_eq!(
        (plane.down, plane.across),
        (side(18, 15, 1, 3), side(32, 32, 2, 5))
    );
    assert_eq!(plane.tiles, 15);
}

#[cfg(feature = "native")]
#[test]
fn fourier_transforms_are_tried_where_they_may_be_faster() {
    let software = Traits {
        software: true,
        subgroup_size: 8,
        ..Traits::DEFAULT
    };
    for traits in [software, Traits::DEFAULT] {
        let tried = |geometry| {
            let work = Work::Conv2dForward(geometry);
            assert!(serves(Core::Fft, &traits, &work));
            candidates(&traits, &work).contains(&Core::Fft)
        };
        assert!(tried(long(1, 16, [1, 16_384], [1, 1024])));
        assert!(tried(long(4, 16, [128; 2], [31; 2])));
        assert!(!tried(long(4, 64, [32; 2], [1; 2])));
        assert!(!tried(long(4, 64, [32; 2], [3; 2])));
    }
}

#[test]
fn blocks_are_made_chunk_by_chunk() {
    let software = Traits {
        software: true,
        ..Traits::DEFAULT
    };
    let plan = |geometry: Conv2dGeometry| fft::Fft::of(&geometry);
    let chunks = |plan: &fft::Fft| {
        let chunks = plan.chunks(&software);
        (chunks, plan.chunk(chunks))
    };
    // 5 quads of channels to 30: eight tiles of both take more than half of the room.
    let many = plan(Conv2dGeometry {
        out_channels: 120,
        ..long(20, 20, [1, 30], [1, 3])
    });
    assert_eq!((many.tiles, many.quads), (20, [5, 30]));
    assert_eq!(chunks(&many), (3, 8));
    let few = plan(long(20, 4, [1, 30], [1, 3]));
    assert_eq!(chunks(&few), (1, 24));
    // 67 blocks behind each chunk would be transformed again for every eight tiles.
    let parts = plan(long(1, 128, [8, 1024], [40; 2]));
    assert_eq!((parts.tiles, parts.behind()), (99, 67));
    assert_eq!(chunks(&parts), (2, 56));
    assert_eq!(parts.read(2), 99 + 2 * 67);
    // Few tiles are multiplied four at a time.
    let together = |plan: &fft::Fft| {
        [true, false].map(|software| {
            plan.together(&Traits {
                software,
                ..Traits::DEFAULT
            })
        })
    };
    assert_eq!(together(&many), [8, 4]);
    assert_eq!(together(&plan(long(4, 4, [1, 30], [1, 3]))), [4, 4]);
}
