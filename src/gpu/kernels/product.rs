//! The blocked matrix product in its forms: what `matmul` and `conv2d` build on.

use super::{Recording, Region, group_grid};
use crate::gpu::kernel::{Kernel, Params};
use crate::gpu::strategy::{Core, Extents, tiled_iterations};

/// A kernel over the cores `product_4x4`, `product_8x4` and `product_2x4`. Its constants `A_ALONG_K` and `B_ALONG_K`
/// say whether neighbours along k are neighbours in memory.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Product {
    /// Tiles of 32 or 64, with 4 x 4 results an invocation.
    pub by_4x4: &'static Kernel,
    /// Tiles of 128 x 64, with 8 x 4 results an invocation.
    pub by_8x4: &'static Kernel,
    /// Tiles of 32, with 2 x 4 results an invocation, if the product has this form, and the program.
    pub by_2x4: Option<&'static Kernel>,
}

/// Describes such a kernel: the name of its shader, to which those of the cores are added, and what a [`Kernel`] has.
/// Its `quads` are loaded by a block, and by the one after it where registers are few.
macro_rules! product {
    (
        $name:literal, bindings: $bindings:expr, formats: $formats:expr, params: $params:ty, constants: $constants:expr,
        source: $file:literal, blocks: [$($block:expr),+], quads: [$quads:expr $(, $lean:expr)?]
    ) => {{
        const BY_4X4: Kernel = Kernel {
            name: concat!($name, "_4x4"),
            source: source!($file),
            blocks: &[$($block,)+ $quads, &blocks::PRODUCT_4X4],
            bindings: $bindings,
            formats: $formats,
            params: <$params>::LAYOUT,
            constants: &$constants,
        };
        Product {
            by_4x4: &BY_4X4,
            by_8x4: &Kernel {
                name: concat!($name, "_8x4"),
                blocks: &[$($block,)+ $quads, &blocks::PRODUCT_8X4],
                ..BY_4X4
            },
            by_2x4: product!(@lean [$($block),+] $($lean)?, Kernel {
                name: concat!($name, "_2x4"),
                ..BY_4X4
            }),
        }
    }};
    (@lean [$($block:expr),+] , $kernel:expr) => { None };
    (@lean [$($block:expr),+] $lean:expr, $kernel:expr) => {
        match Core::TiledLean.exists() {
            true => Some(&Kernel {
                blocks: &[$($block,)+ $lean, &blocks::PRODUCT_2X4],
                ..$kernel
            }),
            false => None,
        }
    };
}
pub(super) use product;

impl Product {
    /// Records the product on one of the tiled cores. `extents.k` is the length of the sums in one
    /// slice.
    pub fn dispatch<P: Params>(
        &self,
        recording: &mut Recording,
        core: Core,
        extents: Extents,
        mut constants: Vec<(&'static str, f64)>,
        bindings: &[Option<Region>],
        params: P,
    ) {
        let sides = core.tile();
        let kernel = match (core, self.by_2x4) {
            (Core::Tiled128, _) => {
                if recording.traits.few_registers {
                    constants.push(("INNER", 1.0));
                }
                self.by_8x4
            }
            (Core::TiledLean, Some(kernel)) => kernel,
            (
                Core::Tiled32
                | Core::Tiled64
                | Core::TiledLean
                | Core::Subgroup
                | Core::Rows
                | Core::Strided
                | Core::Depthwise
                | Core::Unfolded
                | Core::WinogradSubgroup
                | Core::WinogradTiled
                | Core::Fft
                | Core::Direct,
                _,
            ) => {
                constants.push(("SIDE", (sides[0] / 4) as f64));
                self.by_4x4
            }
        };
        recording.iterations(tiled_iterations(extents.k));
        let [x, y, _] = group_grid(extents.m.div_ceil(sides[0]) * extents.n.div_ceil(sides[1]));
        let grid = [x, y, extents.slices as u64];
        recording.dispatch(kernel, &constants, bindings, params, grid);
    }
}
