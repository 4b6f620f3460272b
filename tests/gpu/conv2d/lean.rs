//! Tiles for few registers, which keep in workgroup memory what others do not.

use super::*;
use crate::device::device;

/// Tiles that are full and that are not, several blocks of a sum, rows of the filters' quads that are not whole, groups and
/// phases.
fn lean_cases() -> Vec<Case> {
    let layer = |channels, kernel| Conv2d::new(channels, kernel);
    vec![
        case("full tiles", [2, 32, 8, 8], layer(32, 3).padding(1)),
        case("odd ends", [3, 33, 7, 5], layer(35, 3)),
        case("long sums", [1, 70, 9, 12], layer(3, 5).padding(2)),
        case("strides", [2, 17, 9, 11], layer(34, 3).stride(2).padding(1)),
        case("groups", [2, 18, 6, 7], layer(22, 3).groups(2)),
    ]
}

/// With checks of every index, which put what lies outside somewhere else.
#[test]
fn lean_tiles_stay_inside_their_memory() {
    let builder = Gpu::builder().poison(true).shader_checks(true);
    let Some(gpu) = device(builder.prefer_core("tiled-lean")) else {
        return;
    };
    for case in lean_cases() {
        let data = Data::new(&case.geometry(), integers);
        let results = on_gpu(&gpu, &case, &data);
        for (at, (got, expected)) in results.iter().zip(&expected(&case, &data)).enumerate() {
            expected.assert(&format!("{}, {}", case.name, RESULTS[at]), got);
        }
    }
}

/// The order of a sum's products is that of other tiles of the same size. A GPU's compiler may join a product and a sum in one kernel
/// and not in the other.
#[test]
fn lean_tiles_have_the_bits_of_others_of_their_size() {
    let on = |core| device(Gpu::builder().prefer_core(core));
    let (Some(lean), Some(other)) = (on("tiled-lean"), on("tiled-32")) else {
        return;
    };
    if lean.info().driver != "llvmpipe" {
        eprintln!(
            "skipped: the compiler of {} may round otherwise",
            lean.info().name
        );
        return;
    }
    for case in lean_cases() {
        let data = Data::new(&case.geometry(), uniform);
        let [lean, other] = [&lean, &other].map(|gpu| on_gpu(gpu, &case, &data));
        for (at, (lean, other)) in lean.iter().zip(&other).take(3).enumerate() {
            assert_same(&format!("{}, {}", case.name, RESULTS[at]), lean, other);
        }
    }
}
