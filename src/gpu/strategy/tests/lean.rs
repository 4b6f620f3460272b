//! Where lean tiles are tried.

use super::*;

#[test]
fn lean_tiles_are_tried_where_registers_are_few() {
    let geometry = convolution();
    let works = [
        Work::Conv2dForward(geometry),
        Work::Conv2dBackwardInput(geometry),
        Work::Conv2dBackwardWeight(geometry),
        Work::Matmul([64, 1024, 1024], [false, true]),
    ];
    for few_registers in [false, true] {
        let traits = Traits {
            few_registers,
            ..Traits::DEFAULT
        };
        for work in &works {
            let tried = candidates(&traits, work).contains(&Core::TiledLean);
            assert_eq!(tried, few_registers, "{work:?}");
            assert_ne!(table(&traits, work), Core::TiledLean);
        }
    }
}
