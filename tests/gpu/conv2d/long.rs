//! Sums that are split into parts.

use wgpu_cnn::Conv2d;

use super::{case, run_on};

/// Sums over so many channels and so few pixels that the tiled cores split them to fill a device.
#[test]
fn long_sums_of_few_pixels_equal_the_reference() {
    // What other cores make of these sums takes as long as all the rest, and is in other tests.
    fn splits(device: &str) -> bool {
        let others = ["strided", "depthwise", "unfolded", "fft"];
        !others.contains(&device) && !device.starts_with("winograd")
    }
    let cases = [
        case("few tiles", [2, 260, 5, 7], Conv2d::new(258, 3).padding(1)),
        case(
            "few tiles of phases",
            [1, 300, 6, 5],
            Conv2d::new(600, 3).stride(2).padding(1),
        ),
        case(
            "few tiles of groups",
            [1, 130, 5, 5],
            Conv2d::new(130, 3).groups(2).dilation(2).padding(2),
        ),
        case(
            "few tiles of patches",
            [1, 3, 32, 16],
            Conv2d::new(520, 16).stride(16),
        ),
    ];
    run_on(&cases, splits);
}
