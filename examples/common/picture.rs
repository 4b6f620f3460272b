//! Pictures drawn with plotters and written as PNG.

use std::error::Error;
use std::path::Path;

use plotters::coord::Shift;
use plotters::prelude::*;

/// What `draw` hands out to be drawn on.
pub type Canvas<'a> = DrawingArea<BitMapBackend<'a>, Shift>;

/// The name of the one font. It comes from a crate, so that no font need be installed.
pub const FONT: &str = "sans-serif";

/// Writes a PNG of `width` by `height` pixels that holds what `paint` draws on white.
pub fn draw(
    path: &Path,
    [width, height]: [u32; 2],
    paint: impl FnOnce(&Canvas) -> Result<(), Box<dyn Error>>,
) -> Result<(), Box<dyn Error>> {
    plotters::style::register_font(FONT, FontStyle::Normal, epaint_default_fonts::UBUNTU_LIGHT)
        .map_err(|_| "the font cannot be read")?;
    let mut pixels = vec![0; 3 * width as usize * height as usize];
    {
        let canvas = BitMapBackend::with_buffer(&mut pixels, (width, height)).into_drawing_area();
        canvas.fill(&WHITE)?;
        paint(&canvas)?;
        canvas.present()?;
    }
    let file = encode([width, height], &pixels)?;
    std::fs::write(path, file).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(())
}

fn encode([width, height]: [u32; 2], rgb: &[u8]) -> Result<Vec<u8>, png::EncodingError> {
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, width, height);
    encoder.set_color(png::ColorType::Rgb);
    let mut writer = encoder.write_header()?;
    writer.write_image_data(rgb)?;
    writer.finish()?;
    Ok(file)
}
