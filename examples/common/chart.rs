//! The course of a training as a picture: its loss beside its accuracy.

use std::error::Error;
use std::ops::Range;
use std::path::Path;

use plotters::prelude::*;

use super::picture::{self, Canvas, FONT};

const LOSS: RGBColor = RGBColor(31, 119, 180);
const ACCURACY: RGBColor = RGBColor(214, 96, 39);
const GREY: RGBColor = RGBColor(90, 90, 90);

/// What a training reports on its way. The first number of each pair counts epochs, and fractions
/// of them.
#[derive(Default)]
pub struct History {
    /// The mean loss of single batches.
    pub loss: Vec<(f64, f64)>,
    /// The accuracy on the test images, in percent.
    pub accuracy: Vec<(f64, f64)>,
}

/// Draws both curves side by side.
pub fn write(path: &Path, history: &History) -> Result<(), Box<dyn Error>> {
    picture::draw(path, [1000, 420], |canvas| {
        let (left, right) = canvas.split_horizontally(500);
        let loss = finite(&history.loss);
        let top = loss.iter().map(|point| point.1).fold(0.0, f64::max);
        let top = if top > 0.0 { 1.05 * top } else { 1.0 };
        panel(
            &left,
            "training loss, single batches",
            &loss,
            0.0..top,
            LOSS,
            false,
        )?;
        let accuracy = finite(&history.accuracy);
        panel(
            &right,
            "test accuracy, %",
            &accuracy,
            0.0..105.0,
            ACCURACY,
            true,
        )
    })
}

/// The points that can be drawn: a training that diverges gives NaN.
fn finite(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    points
        .iter()
        .copied()
        .filter(|point| point.1.is_finite())
        .collect()
}

/// One curve over the epochs; with `marks` each point is a dot with its value.
fn panel(
    canvas: &Canvas,
    title: &str,
    points: &[(f64, f64)],
    values: Range<f64>,
    color: RGBColor,
    marks: bool,
) -> Result<(), Box<dyn Error>> {
    let epochs = points.last().map_or(1.0, |point| point.0).max(1.0);
    let label = |size: i32| (FONT, size).into_font().color(&GREY);
    let mut chart = ChartBuilder::on(canvas)
        .caption(title, (FONT, 22).into_font().color(&BLACK))
        .margin(14)
        .x_label_area_size(44)
        .y_label_area_size(48)
        .build_cartesian_2d(0.0..1.1 * epochs, values)?;
    chart
        .configure_mesh()
        .bold_line_style(BLACK.mix(0.12))
        .light_line_style(TRANSPARENT)
        .axis_style(BLACK.mix(0.4))
        .label_style(label(16))
        .axis_desc_style(label(17))
        .x_desc("epoch")
        .x_labels(9)
        .x_label_formatter(&|epoch| round(*epoch))
        .y_labels(8)
        .y_label_formatter(&|value| round(*value))
        .draw()?;
    chart.draw_series(LineSeries::new(
        points.iter().copied(),
        color.stroke_width(2),
    ))?;
    if marks {
        // A long training has no room for every value, but always for the last.
        let first = if points.len() > 9 {
            points.len() - 1
        } else {
            0
        };
        chart.draw_series(points.iter().enumerate().map(|(at, &point)| {
            let value = if at < first {
                String::new()
            } else {
                format!("{:.1}", point.1)
            };
            EmptyElement::at(point)
                + Circle::new((0, 0), 4, color.filled())
                + Text::new(value, (4, 8), label(16))
        }))?;
    }
    Ok(())
}

/// A number on an axis, without the digits that only binary fractions have.
fn round(value: f64) -> String {
    ((value * 1e6).round() / 1e6).to_string()
}
