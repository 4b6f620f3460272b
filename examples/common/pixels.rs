//! Images drawn pixel by pixel.

use std::error::Error;

use plotters::prelude::*;

use super::picture::Canvas;

/// Draws an image, row after row of `width` pixels, with its upper left corner at `at`: each pixel is a square
/// of `scale` pixels of the paper.
pub fn image(
    paper: &Canvas,
    at: [usize; 2],
    [width, scale]: [usize; 2],
    colors: impl IntoIterator<Item = RGBColor>,
) -> Result<(), Box<dyn Error>> {
    for (pixel, color) in colors.into_iter().enumerate() {
        let corner = [pixel % width, pixel / width];
        let corner = [0, 1].map(|axis| (at[axis] + corner[axis] * scale) as i32);
        let [left, top] = corner;
        let [right, bottom] = corner.map(|edge| edge + scale as i32);
        let square = Rectangle::new([(left, top), (right, bottom)], color.filled());
        paper.draw(&square)?;
    }
    Ok(())
}

/// The grey of a number from 0 (black) to 1.
pub fn grey(value: f32) -> RGBColor {
    let byte = (255.0 * value.clamp(0.0, 1.0)) as u8;
    RGBColor(byte, byte, byte)
}
