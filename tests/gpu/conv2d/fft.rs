//! Convolution by Fourier transforms, and what is not finite in it.

use super::*;

/// Filters as wide and as high as blocks take whole, wider and higher ones, and results that fill blocks or do not.
fn fft_cases() -> Vec<Case> {
    let row = |channels, taps: usize| Conv2d::new(channels, [1, taps]);
    vec![
        case("one tap", [1, 1, 1, 1], row(1, 1)),
        case("a short signal", [2, 3, 1, 70], row(5, 33).padding([0, 16])),
        case("several blocks, odd", [2, 5, 1, 4099], row(6, 301)),
        case("rows of images", [2, 2, 3, 90], row(3, 64).padding([1, 7])),
        case(
            "more padding than taps",
            [1, 2, 1, 65],
            row(2, 9).padding([0, 20]),
        ),
        case("all of half a block", [1, 1, 1, 2100], row(1, 1025)),
        case("two parts", [1, 2, 1, 2500], row(1, 1026).padding([0, 3])),
        case(
            "three parts, padded",
            [1, 1, 1, 2300],
            row(2, 2200).padding([0, 40]),
        ),
        case(
            "dilation",
            [2, 3, 1, 700],
            row(4, 70).dilation([1, 5]).padding([0, 9]),
        ),
        case("groups", [2, 12, 1, 300], row(10, 65).groups(2)),
        case("one each", [2, 6, 1, 300], row(6, 65).groups(6)),
        case("an image", [2, 3, 40, 75], Conv2d::new(5, 15).padding(7)),
        case(
            "high",
            [1, 2, 41, 9],
            Conv2d::new(3, [40, 3]).padding([5, 1]),
        ),
        case(
            "parts both ways",
            [1, 2, 50, 80],
            Conv2d::new(2, [19, 37]).padding([8, 18]),
        ),
        case(
            "several chunks",
            [20, 20, 1, 30],
            row(120, 3).padding([0, 1]),
        ),
        case(
            "chunks of parts",
            [3, 36, 40, 70],
            Conv2d::new(36, [18, 2]).groups(36),
        ),
        case("small images", [9, 2, 6, 5], Conv2d::new(3, 3).padding(1)),
        case(
            "dilation both ways",
            [1, 2, 40, 40],
            Conv2d::new(3, [5, 4]).dilation([3, 7]),
        ),
    ]
}

#[test]
fn convolutions_by_fourier_transforms_equal_the_reference() {
    run_on(&fft_cases(), |device| device == "fft");
}

#[test]
fn fourier_transforms_keep_nan_and_infinity_where_they_belong() {
    let signal = Conv2d::new(5, [1, 25]).padding([0, 20]);
    let dilated = Conv2d::new(6, [2, 4])
        .padding([1, 3])
        .dilation([3, 2])
        .groups(3);
    for case in [
        case("a signal", [2, 3, 1, 400], signal),
        case("images in groups", [2, 6, 9, 13], dilated),
        case("two parts", [1, 2, 1, 1500], Conv2d::new(2, [1, 1030])),
        case(
            "padding beside",
            [3, 2, 9, 70],
            Conv2d::new(3, [2, 9]).padding(1),
        ),
        case("a long sum", [1, 30, 1, 1060], Conv2d::new(9, [1, 1030])),
        case(
            "shares of a long sum",
            [31, 1, 1, 15_000],
            Conv2d::new(4, [1, 9]),
        ),
    ] {
        winograd::keeps_what_is_not_finite(&case, |device| device == "fft");
    }
}
