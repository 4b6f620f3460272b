//! What the examples share: counting answers, drawing pictures.

pub mod chart;
pub mod confusion;
pub mod filters;
pub mod finite;
pub mod out;
pub mod picture;
