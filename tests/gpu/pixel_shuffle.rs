//! The kernel of src/gpu/kernels/pixel_shuffle.rs.

use wgpu_cnn::{PixelShuffle, Shape, cpu, ops};

use crate::common::{each_gpu, random, tensor, uniform};
use crate::compare::assert_bits;

#[test]
fn both_ways_equal_the_reference() {
    let cases = [
        ([1, 1, 1, 1], 1),
        ([2, 8, 3, 5], 2),
        ([3, 12, 4, 4], 2),
        ([1, 9, 1, 7], 3),
        ([2, 50, 2, 3], 5),
    ];
    for (name, gpu) in each_gpu() {
        for (input, factor) in cases {
            let [batch, example @ ..] = input;
            let layer = PixelShuffle::new(factor);
            let geometry = layer.geometry(batch, &Shape::from(example)).unwrap();
            let x = uniform(&mut random(factor as u64), geometry.input_len());
            let mut y = vec![0.0; x.len()];
            cpu::pixel_shuffle(&geometry, &x, &mut y).unwrap();
            let name = format!("{input:?} by {factor}, {name}");
            let pixels = ops::pixel_shuffle(&tensor(gpu, input, &x), factor).unwrap();
            assert_bits(&name, &pixels.to_vec().unwrap(), &y);
            let channels = ops::pixel_unshuffle(&pixels, factor).unwrap();
            assert_eq!(channels.shape()[..], input);
            assert_bits(&name, &channels.to_vec().unwrap(), &x);
        }
    }
}
