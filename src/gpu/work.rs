//! What cores are chosen for: a product, or one of a convolution's three passes.

use std::fmt;

use super::kernel::Format;
use crate::op::{Conv2dGeometry, Size2, saturating_product};

/// The extents of a product C `(m, n)` with sums of length `k`, and the number of such products.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Extents {
    pub m: usize,
    pub n: usize,
    pub k: usize,
    pub slices: usize,
}

impl Extents {
    /// Of a product whose sums are split: a slice for each part.
    pub fn split(self, parts: usize) -> Self {
        Self {
            k: self.k.div_ceil(parts),
            slices: self.slices * parts,
            ..self
        }
    }

    /// The workgroups of tiles of so many rows and columns.
    pub fn tiles(&self, [rows, columns]: [usize; 2]) -> usize {
        self.m.div_ceil(rows) * self.n.div_ceil(columns) * self.slices
    }
}

/// The phases of an input gradient: pixels that are a stride apart and so meet the same taps
/// (`shaders/core/phases.wgsl`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Phases {
    /// Phases that are rows of one product: all or one.
    pub rows: usize,
    /// Phases that are a product each: all or one.
    pub slices: usize,
    /// Taps of a filter that a pixel meets at most.
    pub taps: usize,
    /// Blocks of an image with a pixel of each phase; at the edges, some of them lie outside.
    pub blocks: usize,
}

impl Phases {
    pub fn of(geometry: &Conv2dGeometry) -> Self {
        let Conv2dGeometry {
            in_size: size,
            kernel,
            stride,
            padding: [top, _, left, _],
            dilation,
            ..
        } = *geometry;
        // Where a stride divides the filter, each phase meets as many of its taps, and the same outputs.
        let divides = |kernel: usize, stride: usize| kernel.is_multiple_of(stride);
        let even = divides(kernel.height, stride.height) && divides(kernel.width, stride.width);
        let (rows, slices) = match dilation == Size2::ONE && even {
            true => (stride.area(), 1),
            false => (1, stride.area()),
        };
        let period = period(geometry);
        let blocks =
            |size: usize, before: usize, stride: usize| (size + before % stride).div_ceil(stride);
        Self {
            rows,
            slices,
            taps: taps_of_phase(kernel, period),
            blocks: blocks(size.height, top, stride.height)
                * blocks(size.width, left, stride.width),
        }
    }

    /// Whether they are rows of one product.
    pub fn folded(&self) -> bool {
        self.rows > 1
    }
}

/// Taps of a filter, so far apart, that a pixel meets at most.
pub(crate) fn taps_of_phase(kernel: Size2, period: Size2) -> usize {
    kernel.height.div_ceil(period.height) * kernel.width.div_ceil(period.width)
}

/// The distance of the taps that meet one pixel of an input gradient: where the dilation has a factor in
/// common with the stride, it is the stride without that factor.
pub(crate) fn period(geometry: &Conv2dGeometry) -> Size2 {
    let period = |stride: usize, dilation: usize| {
        let (mut a, mut b) = (stride, dilation);
        while b > 0 {
            (a, b) = (b, a % b);
        }
        stride / a
    };
    let Conv2dGeometry {
        stride, dilation, ..
    } = geometry;
    Size2 {
        height: period(stride.height, dilation.height),
        width: period(stride.width, dilation.width),
    }
}

/// What a core is chosen for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Work {
    /// `(m, n, k)`, and whether A and B are transposed.
    Matmul([usize; 3], [bool; 2]),
    Conv2dForward(Conv2dGeometry),
    Conv2dBackwardInput(Conv2dGeometry),
    Conv2dBackwardWeight(Conv2dGeometry),
}

impl Work {
    /// The product that it is.
    pub fn extents(&self) -> Extents {
        let (m, n, k, slices) = match self {
            Self::Matmul([m, n, k], _) => (*m, *n, *k, 1),
            Self::Conv2dForward(g) => {
                let pixels = g.batch * g.out_size.area();
                let channels = g.out_channels / g.groups;
                (channels, pixels, taps(g, g.in_channels), g.groups)
            }
            Self::Conv2dBackwardInput(g) => {
                let Phases {
                    rows,
                    slices,
                    taps,
                    blocks,
                } = Phases::of(g);
                let channels = g.in_channels / g.groups * rows;
                let k = g.out_channels / g.groups * taps;
                (channels, g.batch * blocks, k, g.groups * slices)
            }
            Self::Conv2dBackwardWeight(g) => {
                let pixels = g.batch * g.out_size.area();
                let channels = g.out_channels / g.groups;
                (channels, taps(g, g.in_channels), pixels, g.groups)
            }
        };
        Extents { m, n, k, slices }
    }

    /// Of a convolution.
    pub fn geometry(&self) -> Option<&Conv2dGeometry> {
        match self {
            Self::Matmul(..) => None,
            Self::Conv2dForward(geometry)
            | Self::Conv2dBackwardInput(geometry)
            | Self::Conv2dBackwardWeight(geometry) => Some(geometry),
        }
    }

    /// Of a pass from images and weights to images, and whether it is the input gradient.
    pub fn image_pass(&self) -> Option<(&Conv2dGeometry, bool)> {
        match self {
            Self::Conv2dForward(geometry) => Some((geometry, false)),
            Self::Conv2dBackwardInput(geometry) => Some((geometry, true)),
            Self::Matmul(..) | Self::Conv2dBackwardWeight(_) => None,
        }
    }

    /// Additions and multiplications, padding counted.
    pub fn flops(&self) -> u64 {
        match self {
            Self::Matmul(extents, _) => saturating_product(extents).saturating_mul(2),
            Self::Conv2dForward(geometry)
            | Self::Conv2dBackwardInput(geometry)
            | Self::Conv2dBackwardWeight(geometry) => geometry.flops(),
        }
    }

    /// The kernel's name.
    fn name(&self) -> &'static str {
        match self {
            Self::Matmul(..) => "matmul",
            Self::Conv2dForward(_) => "conv2d_forward",
            Self::Conv2dBackwardInput(_) => "conv2d_backward_input",
            Self::Conv2dBackwardWeight(_) => "conv2d_backward_weight",
        }
    }
}

/// Taps of so many channels in one group.
fn taps(geometry: &Conv2dGeometry, channels: usize) -> usize {
    channels / geometry.groups * geometry.kernel.area()
}

impl fmt::Display for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.name())?;
        let Some(geometry) = self.geometry() else {
            let Self::Matmul([m, n, k], transposed) = self else {
                return Ok(());
            };
            let [a, b] = transposed.map(|transposed| if transposed { "^T" } else { "" });
            return write!(f, "{m}x{k}{a} * {k}x{n}{b}");
        };
        let Conv2dGeometry {
            batch,
            groups,
            in_channels,
            in_size,
            out_channels,
            kernel,
            stride,
            padding: [top, bottom, left, right],
            dilation,
            ..
        } = geometry;
        let by = |size: &Size2| format!("{}x{}", size.height, size.width);
        let (image, kernel) = (by(in_size), by(kernel));
        write!(f, "{batch}x{in_channels}x{image} {out_channels}x{kernel}")?;
        write!(f, " stride {} dilation {}", by(stride), by(dilation))?;
        write!(f, " padding {top},{bottom},{left},{right} groups {groups}")
    }
}

/// A piece of work, and how its two inputs and its result lie in memory: what cores are measured for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stored {
    pub work: Work,
    pub formats: [Format; 3],
}

impl fmt::Display for Stored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.work)?;
        let [a, b, result] = self.formats.map(Format::wgsl);
        match self.formats {
            [Format::F32, Format::F32, Format::F32] => Ok(()),
            _ => write!(f, " in {a}, {b} to {result}"),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn convolution() -> Conv2dGeometry {
        Conv2dGeometry {
            batch: 2,
            groups: 1,
            in_channels: 4,
            in_size: Size2 {
                height: 9,
                width: 8,
            },
            out_channels: 6,
            out_size: Size2 {
                height: 7,
                width: 6,
            },
            kernel: Size2 {
                height: 3,
                width: 3,
            },
            stride: Size2::ONE,
            padding: [0; 4],
            dilation: Size2::ONE,
        }
    }

    /// Each field another one, with the output that this gives.
    pub(crate) fn variations() -> Vec<Conv2dGeometry> {
        let of = |change: fn(&mut Conv2dGeometry)| {
            let mut geometry = convolution();
            change(&mut geometry);
            geometry
        };
        vec![
            convolution(),
            of(|g| g.batch = 3),
            of(|g| g.groups = 2),
            of(|g| g.in_channels = 5),
            of(|g| g.in_size.height = 10),
            of(|g| g.in_size.width = 10),
            of(|g| g.out_channels = 7),
            of(|g| g.kernel.height = 2),
            of(|g| g.kernel.width = 2),
            of(|g| g.stride.height = 2),
            of(|g| g.stride.width = 2),
            of(|g| g.padding = [1, 0, 0, 0]),
            of(|g| g.padding = [0, 1, 0, 0]),
            of(|g| g.padding = [0, 0, 1, 0]),
            of(|g| g.padding = [0, 0, 0, 1]),
            of(|g| g.dilation.height = 2),
            of(|g| g.dilation.width = 2),
        ]
    }

    #[test]
    fn different_work_has_different_names() {
        let mut works = vec![
            Work::Matmul([2, 3, 4], [false, false]),
            Work::Matmul([2, 3, 4], [true, false]),
            Work::Matmul([2, 3, 4], [false, true]),
            Work::Matmul([3, 2, 4], [false, false]),
            Work::Matmul([2, 4, 3], [false, false]),
        ];
        for geometry in variations() {
            works.extend([
                Work::Conv2dForward(geometry),
                Work::Conv2dBackwardInput(geometry),
                Work::Conv2dBackwardWeight(geometry),
            ]);
        }
        let mut names: std::collections::BTreeSet<_> = works.iter().map(Work::to_string).collect();
        assert_eq!(names.len(), works.len(), "{names:#?}");
        // As stored in f32, the work alone.
        for at in 0..8 {
            let formats = [1, 2, 4].map(|bit| match at & bit {
                0 => Format::F32,
                _ => Format::F16,
            });
            let stored = works.iter().map(|&work| Stored { work, formats });
            names.extend(stored.map(|stored| stored.to_string()));
        }
        assert_eq!(names.len(), 8 * works.len(), "{names:#?}");
    }
}
