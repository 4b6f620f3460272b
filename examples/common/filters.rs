//! A convolution's filters as a picture.

use std::error::Error;
use std::path::Path;

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::picture::{self, FONT};

/// Pixels that a weight is wide and high, and between two filters, and around the grid.
const WEIGHT: usize = 14;
const GAP: usize = 10;
const MARGIN: usize = 24;
/// The scale below the grid.
const SCALE: usize = 62;
const COLUMNS: usize = 8;

/// Draws each plane of `weights`, which has the shape (O, I, H, W): negative weights blue, zero
/// white, positive ones red, on one scale.
pub fn write(path: &Path, weights: &[f32], shape: &[usize]) -> Result<(), Box<dyn Error>> {
    let &[outputs, inputs, height, width] = shape else {
        return Err(format!("filters have four axes, not {}", shape.len()).into());
    };
    let planes = outputs * inputs;
    let columns = planes.min(COLUMNS);
    let rows = planes.div_ceil(COLUMNS);
    let extent = |count: usize, cells: usize| count * (cells * WEIGHT + GAP) - GAP + 2 * MARGIN;
    let size = [
        extent(columns, width).max(340),
        extent(rows, height) + SCALE,
    ];
    let bound = weights
        .iter()
        .filter(|w| w.is_finite())
        .fold(0.0f32, |b, w| b.max(w.abs()));
    picture::draw(path, size.map(|pixels| pixels as u32), |canvas| {
        for (plane, values) in weights.chunks(height * width).enumerate() {
            let left = MARGIN + plane % COLUMNS * (width * WEIGHT + GAP);
            let top = MARGIN + plane / COLUMNS * (height * WEIGHT + GAP);
            canvas.draw(&frame(left, top, width * WEIGHT, height * WEIGHT))?;
            for (at, &value) in values.iter().enumerate() {
                let (x, y) = (left + at % width * WEIGHT, top + at / width * WEIGHT);
                canvas.draw(&block(x, y, WEIGHT, WEIGHT, color(value / bound)))?;
            }
        }
        let (left, top, cells) = (MARGIN, size[1] - SCALE, 101);
        for cell in 0..cells {
            let value = cell as f32 / (cells - 1) as f32 * 2.0 - 1.0;
            canvas.draw(&block(left + 2 * cell, top, 2, 16, color(value)))?;
        }
        let label = |text: String, at: usize| {
            let style = (FONT, 16)
                .into_font()
                .color(&BLACK)
                .pos(Pos::new(HPos::Center, VPos::Top));
            Text::new(text, ((left + at) as i32, top as i32 + 22), style)
        };
        canvas.draw(&label(format!("-{bound:.2}"), 10))?;
        canvas.draw(&label("0".into(), cells))?;
        canvas.draw(&label(format!("{bound:.2}"), 2 * cells - 8))?;
        Ok(())
    })
}

fn block(
    x: usize,
    y: usize,
    width: usize,
    height: usize,
    color: RGBColor,
) -> Rectangle<(i32, i32)> {
    let corners = [(x, y), (x + width, y + height)];
    Rectangle::new(corners.map(|(x, y)| (x as i32, y as i32)), color.filled())
}

/// A line around a block, so that white weights at its edge can be told from the paper.
fn frame(x: usize, y: usize, width: usize, height: usize) -> Rectangle<(i32, i32)> {
    let corners = [(x - 1, y - 1), (x + width, y + height)];
    Rectangle::new(corners.map(|(x, y)| (x as i32, y as i32)), BLACK.mix(0.3))
}

/// From -1 (blue) over 0 (white) to 1 (red).
fn color(value: f32) -> RGBColor {
    const NEGATIVE: [u8; 3] = [33, 102, 172];
    const POSITIVE: [u8; 3] = [178, 24, 43];
    let end = if value < 0.0 { NEGATIVE } else { POSITIVE };
    // NaN, of a training that diverged, is drawn white.
    let share = if value.is_nan() {
        0.0
    } else {
        value.abs().min(1.0)
    };
    let [red, green, blue] = end.map(|c| (255.0 + share * (f32::from(c) - 255.0)) as u8);
    RGBColor(red, green, blue)
}
