//! What the examples share: reading images, counting answers, drawing pictures.

pub mod chart;
pub mod confusion;
pub mod dataset;
pub mod filters;
pub mod finite;
pub mod out;
pub mod picture;
