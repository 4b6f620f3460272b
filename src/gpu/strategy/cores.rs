//! The ways to compute products and convolutions, and what they are called.

/// A way to compute a product or a convolution. Most are files of `shaders/core`, which the kernels
/// of several operations build on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Core {
    /// The blocked product, with tiles in workgroup memory that have 32 rows and columns:
    /// `product_4x4.wgsl` with `product.wgsl`.
    Tiled32,
    /// The same with 64: the same two files.
    Tiled64,
    /// Tiles of 128 x 64: `product_8x4.wgsl` with `product.wgsl`.
    Tiled128,
    /// Tiles of 32 for invocations with few registers: `product_2x4.wgsl` with `product.wgsl`.
    TiledLean,
    /// The blocked product without workgroup memory, for subgroups of 8: `product_subgroup.wgsl`.
    Subgroup,
    /// Convolution by rows of pixels, shared by a subgroup of 8: `rows.wgsl`, and `taps.wgsl` for
    /// the weight gradient.
    Rows,
    /// Convolution by strips of pixels with any stride and dilation, for the same subgroups:
    /// `strided.wgsl`, and `strided_taps.wgsl` for the weight gradient.
    Strided,
    /// Convolution of single channels by strips of columns: `depthwise_forward.wgsl`,
    /// `depthwise_backward_input.wgsl`, and a kernel of its own for the weight gradient.
    Depthwise,
    /// Convolution as one product of unfolded images, for subgroups of 8: `conv2d_unfold.wgsl`,
    /// `product_subgroup.wgsl` and `conv2d_fold.wgsl`.
    Unfolded,
    /// Convolution of 3x3 or 1x3 by Winograd's algorithm, for subgroups of 8: `conv2d_winograd_*.wgsl`.
    WinogradSubgroup,
    /// The same on the blocked product, for GPUs: `conv2d_winograd_product_tiled.wgsl` and
    /// `conv2d_winograd_weight_product_tiled.wgsl`.
    WinogradTiled,
    /// Convolution with large filters by Fourier transforms of blocks: `conv2d_fft_*.wgsl`.
    Fft,
    /// Convolution with an invocation per output, or per 16 or 32 channels of one. No file: the kernels
    /// `conv2d_direct_*.wgsl` have little in common.
    Direct,
}

impl Core {
    pub const ALL: [Self; 13] = [
        Self::Tiled32,
        Self::Tiled64,
        Self::Tiled128,
        Self::TiledLean,
        Self::Subgroup,
        Self::Rows,
        Self::Strided,
        Self::Depthwise,
        Self::Unfolded,
        Self::WinogradSubgroup,
        Self::WinogradTiled,
        Self::Fft,
        Self::Direct,
    ];

    /// Its name in files and options.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tiled32 => "tiled-32",
            Self::Tiled64 => "tiled-64",
            Self::Tiled128 => "tiled-128",
            Self::TiledLean => "tiled-lean",
            Self::Subgroup => "subgroup",
            Self::Rows => "rows",
            Self::Strided => "strided",
            Self::Depthwise => "depthwise",
            Self::Unfolded => "unfolded",
            Self::WinogradSubgroup => "winograd-subgroup",
            Self::WinogradTiled => "winograd-tiled",
            Self::Fft => "fft",
            Self::Direct => "direct",
        }
    }

    /// Whether this program has it. A page has the cores alone that it can meet, and can load: browsers offer no subgroups,
    /// lean tiles are the autotuner's choice, Fourier transforms that or a software adapter's, and Winograd's algorithm on tiles would be a
    /// twentieth of its program.
    pub const fn exists(self) -> bool {
        match self {
            Self::Tiled32 | Self::Tiled64 | Self::Tiled128 | Self::Depthwise | Self::Direct => true,
            Self::TiledLean
            | Self::Subgroup
            | Self::Rows
            | Self::Strided
            | Self::Unfolded
            | Self::WinogradSubgroup
            | Self::WinogradTiled
            | Self::Fft => !cfg!(target_arch = "wasm32"),
        }
    }

    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|core| core.name() == name)
    }

    /// Rows and columns of C that a workgroup of the tiled cores computes. The others have no tiles.
    pub fn tile(self) -> [usize; 2] {
        match self {
            Self::Tiled32 | Self::TiledLean => [32, 32],
            Self::Tiled64 => [64, 64],
            Self::Tiled128 => [128, 64],
            Self::Subgroup
            | Self::Rows
            | Self::Strided
            | Self::Depthwise
            | Self::Unfolded
            | Self::WinogradSubgroup
            | Self::WinogradTiled
            | Self::Fft
            | Self::Direct => [1, 1],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_core_is_named_where_one_is_asked_for() {
        let soak =
            std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/soak.rs"));
        let (soak, builder) = (soak.unwrap(), include_str!("../adapter.rs"));
        for core in Core::ALL {
            let name = core.name();
            assert_eq!(Core::named(name), Some(core));
            assert!(builder.contains(&format!("`\"{name}\"`")), "{name}");
            let words = soak.split(|c: char| !(c.is_alphanumeric() || c == '-'));
            assert!(words.into_iter().any(|word| word == name), "{name}");
        }
    }
}
