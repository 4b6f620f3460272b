//! The files of `shaders/core`, each with the constants that it declares and the other files that it
//! builds on. A kernel names those that its own file calls or defines functions for.

use crate::gpu::kernel::{Block, Functions, text};

/// The files of `shaders/core` with these names, one after the other.
macro_rules! core {
    ($($name:literal),+) => {
        text!(concat!($(include_str!(concat!("../../../shaders/core/", $name, ".wgsl"))),+))
    };
}

/// A block that is the same in every variant of a kernel.
macro_rules! block {
    ($name:literal $(, constants: [$($constant:literal),*])? $(, uses: [$($block:ident),*])?) => {
        Block {
            name: $name,
            wgsl: |_| core!($name),
            constants: &[$($($constant),*)?],
            uses: &[$($(&$block),*)?],
        }
    };
}

pub(crate) const FLAT: Block = block!("flat");
/// By 64 invocations.
pub(crate) const REDUCE: Block = Block {
    name: "reduce",
    wgsl: |_| core!("reduce_by_64", "reduce"),
    constants: &[],
    uses: &[],
};
/// By as many as suit the adapter.
pub(crate) const REDUCE_BY_SOME: Block = Block {
    name: "reduce_by_some",
    wgsl: |_| core!("reduce_by_some", "reduce"),
    constants: &["INVOCATIONS"],
    uses: &[],
};
pub(crate) const CORRECTED: Block = block!("corrected", uses: [NAN]);
pub(crate) const PLANES: Block = block!("planes", constants: ["PLANE_VEC4"]);
pub(crate) const MOMENTS: Block = block!("moments", uses: [PLANES, REDUCE_BY_SOME, CORRECTED]);
pub(crate) const RUNNING: Block = block!("running", constants: ["CUMULATIVE"]);
pub(crate) const STATISTICS: Block = block!(
    "statistics",
    constants: ["HAS_RUNNING", "FOLDS_LATER"],
    uses: [PLANES, RUNNING, REDUCE_BY_SOME, CORRECTED]
);
pub(crate) const CHANNELS: Block = block!("channels", constants: ["PLANE_VEC4"]);
pub(crate) const AFFINE: Block = block!("affine", constants: ["AFFINE"]);
pub(crate) const LANES: Block = block!("lanes");
pub(crate) const RESPONSE: Block = block!("response", constants: ["QUARTERS"], uses: [NAN]);
pub(crate) const BEST: Block = block!("best", uses: [NAN]);
pub(crate) const HUGE: Block = block!("huge");
pub(crate) const CROSS_ENTROPY: Block = block!("cross_entropy", constants: ["HAS_WEIGHTS"]);
pub(crate) const DICE: Block = block!("dice");
pub(crate) const NAN: Block = block!("nan");
pub(crate) const EXPONENTIAL: Block = block!("exponential");
pub(crate) const CONV2D_PARAMS: Block = block!("conv2d_params");

pub(crate) const PADDING_MODE: Block = block!("padding_mode", constants: ["MODE"]);

pub(crate) const WINDOW: Block = block!(
    "window",
    constants: ["KERNEL_H", "KERNEL_W", "STRIDE_H", "STRIDE_W", "PAD_TOP", "PAD_LEFT",
                "DILATION_H", "DILATION_W"]
);
pub(crate) const PHASES: Block = block!("phases", constants: ["PERIOD_H", "PERIOD_W"]);
pub(crate) const MEAN_WINDOW: Block = block!(
    "mean_window",
    constants: ["KERNEL_H", "KERNEL_W", "STRIDE_H", "STRIDE_W", "PAD_TOP", "PAD_BOTTOM",
                "PAD_LEFT", "PAD_RIGHT", "COUNT_PADDING"]
);
const QUOTIENT: Block = block!("quotient");
pub(crate) const ADAPTIVE_WINDOW: Block = block!("adaptive_window", uses: [QUOTIENT]);
pub(crate) const RESAMPLE: Block = block!("resample", constants: ["NEAREST"], uses: [QUOTIENT]);
pub(crate) const GRADIENT_SLAB: Block = block!("gradient_slab", constants: ["HAS_CLIP"]);
pub(crate) const ADAM_MOMENTS: Block = block!("adam_moments");

/// A function applied to results.
pub(crate) const ACTIVATION: Block = block!(
    "activation",
    constants: ["ACTIVATION", "ACTIVATION_A", "ACTIVATION_B"],
    uses: [FUNCTIONS, ARGUMENT, NAN]
);
/// The functions that there are to apply, and no more of them than a dispatch needs.
const FUNCTIONS: Block = Block {
    name: "functions",
    wgsl: |variant| match variant.functions {
        Functions::Relu => core!("activation_relu"),
        Functions::Straight => core!("activation_straight", "activation_straight_alone"),
        Functions::Simple => core!(
            "activation_straight",
            "activation_simple",
            "activation_simple_alone"
        ),
        Functions::All => core!("activation_straight", "activation_simple", "activation_all"),
    },
    constants: &[],
    uses: &[],
};
/// Whether the function's arguments are a second output.
const ARGUMENT: Block = Block {
    name: "argument",
    wgsl: |variant| match variant.argument {
        Some(_) => core!("argument_kept"),
        None => core!("argument_dropped"),
    },
    constants: &[],
    uses: &[],
};
pub(crate) const EPILOGUE: Block = block!(
    "epilogue",
    constants: ["GRADIENT_OF", "GRADIENT_A", "GRADIENT_B", "ACCUMULATE"],
    uses: [ACTIVATION]
);
pub(crate) const EPILOGUE4: Block = block!(
    "epilogue4",
    constants: ["GRADIENT_OF", "GRADIENT_A", "GRADIENT_B", "ACCUMULATE"],
    uses: [ACTIVATION]
);

/// The gradient that arrives, as it is or through an activation.
pub(crate) const GRADIENT: Block = Block {
    name: "gradient",
    wgsl: |variant| match variant.argument {
        Some(_) => core!("gradient", "gradient_turned"),
        None => core!("gradient", "gradient_given"),
    },
    constants: &["FUNCTION", "FUNCTION_A", "FUNCTION_B"],
    uses: &[&FUNCTIONS, &NAN],
};

const PRODUCT: Block = block!(
    "product",
    constants: ["A_ALONG_K", "B_ALONG_K"],
    uses: [FLAT]
);
const ROWS_KEPT: Block = block!("rows_kept");
const COLUMN_STORES: Block = block!("column_stores");
const ELEMENT_LINES: Block = block!("element_lines", uses: [COLUMN_STORES]);
pub(crate) const ELEMENT_QUADS: Block = block!("element_quads", uses: [ELEMENT_LINES]);
pub(crate) const ELEMENT_QUADS_KEPT: Block = block!("element_quads_kept", uses: [ELEMENT_LINES]);
pub(crate) const TAP_QUADS: Block =
    block!("tap_quads", constants: ["TAPS_APART"], uses: [COLUMN_STORES]);
pub(crate) const VECTOR_QUADS: Block = block!("vector_quads");
pub(crate) const PRODUCT_4X4: Block =
    block!("product_4x4", constants: ["SIDE"], uses: [PRODUCT, ROWS_KEPT, FLAT]);
pub(crate) const PRODUCT_2X4: Block = block!("product_2x4", uses: [PRODUCT, FLAT]);
pub(crate) const PRODUCT_8X4: Block =
    block!("product_8x4", constants: ["INNER"], uses: [PRODUCT, ROWS_KEPT, FLAT]);
pub(crate) const PRODUCT_SUBGROUP: Block =
    block!("product_subgroup", constants: ["TALL"], uses: [FLAT]);

pub(crate) const SLIDE: Block = block!("slide");
const ROWS_TILE: Block = block!("rows_tile", constants: ["HAS_BIAS", "HALF"]);
const TAPS_SUMS: Block = block!("taps_sums", constants: ["OUTPUT_VEC4", "HALF", "ROW_SUMS"]);
pub(crate) const ROWS: Block = block!("rows", uses: [ROWS_TILE, SLIDE, FLAT]);
pub(crate) const TAPS: Block = block!("taps", uses: [TAPS_SUMS, SLIDE, FLAT]);
pub(crate) const STRIDED: Block = block!("strided", uses: [ROWS_TILE, PHASES, FLAT]);
pub(crate) const WINOGRAD_POINTS: Block = block!("winograd_points", constants: ["ONE_ROW"]);
pub(crate) const WINOGRAD: Block = block!("winograd");
pub(crate) const WINOGRAD_LAYOUT: Block =
    block!("winograd_layout", constants: ["LAYOUT"], uses: [WINOGRAD, WINOGRAD_POINTS]);
pub(crate) const WINOGRAD_VALUES: Block = block!("winograd_values", uses: [WINOGRAD_POINTS]);
pub(crate) const WINOGRAD_INPUT: Block =
    block!("winograd_input", uses: [WINOGRAD_LAYOUT, WINOGRAD_VALUES]);
pub(crate) const WINOGRAD_OUTPUT: Block =
    block!("winograd_output", uses: [WINOGRAD_LAYOUT, FLAT, TIMES_ZERO]);
pub(crate) const ENDED: Block = block!("ended");
pub(crate) const TIMES_ZERO: Block = block!("times_zero");
const FFT_BLOCK: Block = block!("fft_block", constants: ["PLANE"]);
pub(crate) const FFT: Block = block!("fft", uses: [FFT_BLOCK]);
pub(crate) const FFT_STORE: Block = block!("fft_store");
pub(crate) const FFT_FILTERS: Block = block!("fft_filters", uses: [FFT_BLOCK]);
pub(crate) const FFT_TILES: Block = block!("fft_tiles");
pub(crate) const FFT_PAIRS: Block = block!("fft_pairs", uses: [FFT_BLOCK]);
const WALK_PARAMS: Block = block!("walk_params");
const WALK_WEIGHT: Block = block!("walk_weight");
pub(crate) const FILTER: Block = block!("filter");
const STRIP: Block = block!("strip", constants: ["INPUT_VEC4"], uses: [WINDOW, SLIDE, FLAT]);
pub(crate) const STRIP_TAPS: Block = block!("strip_taps", uses: [STRIP]);
pub(crate) const DEPTHWISE_FORWARD: Block = block!(
    "depthwise_forward",
    uses: [WALK_PARAMS, WALK_WEIGHT, FILTER, STRIP_TAPS]
);
pub(crate) const DEPTHWISE_BACKWARD_INPUT: Block = block!(
    "depthwise_backward_input",
    uses: [WALK_PARAMS, WALK_WEIGHT, FILTER, STRIP]
);
pub(crate) const STRIDED_TAPS: Block = block!("strided_taps", uses: [TAPS_SUMS, WINDOW, FLAT]);
