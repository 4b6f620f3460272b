//! What the examples share: names of classes, drawing pictures.

pub mod chart;
pub mod classes;
pub mod filters;
pub mod finite;
pub mod out;
pub mod picture;
