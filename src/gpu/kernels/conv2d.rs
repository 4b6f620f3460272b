//! Convolution: forward, input gradient, weight gradient. A transpose convolution is the same
//! kernels with the roles changed.

use super::matmul::{TILE, product_grid};
use super::{Output, Read, ReadWrite, Recording, Region};
use super::{constants, conv2d_rows, flag, flat_grid, group_grid, reduce};
use crate::gpu::kernel::{Kernel, Params as _, params, source};
use crate::gpu::strategy::{self, ConvStrategy};
use crate::op::Conv2dGeometry;

params! {
    /// Channels are those of one group.
    struct Params {
        batch: u32,
        groups: u32,
        in_channels: u32,
        in_height: u32,
        in_width: u32,
        out_channels: u32,
        out_height: u32,
        out_width: u32,
    }
}

params! {
    struct BackwardWeightParams {
        batch: u32,
        groups: u32,
        in_channels: u32,
        in_height: u32,
        in_width: u32,
        out_channels: u32,
        out_height: u32,
        out_width: u32,
        parts: u32,
    }
}

pub(crate) const FORWARD: Kernel = Kernel {
    name: "conv2d_forward",
    source: source!(
        "conv2d_forward.wgsl",
        "core/product_tiled.wgsl",
        "core/epilogue.wgsl",
        "core/activation.wgsl",
        "core/activation_base.wgsl",
        "core/flat.wgsl"
    ),
    bindings: &[Read, Read, Read, Read, ReadWrite],
    params: Params::LAYOUT,
    constants: constants!("HAS_BIAS", "A_ALONG_K", "B_ALONG_K"; window, epilogue),
};

pub(crate) const BACKWARD_INPUT: Kernel = Kernel {
    name: "conv2d_backward_input",
    source: source!(
        "conv2d_backward_input.wgsl",
        "core/product_tiled.wgsl",
        "core/epilogue.wgsl",
        "core/activation.wgsl",
        "core/activation_base.wgsl",
        "core/flat.wgsl"
    ),
    bindings: &[Read, Read, Read, Read, ReadWrite],
    params: Params::LAYOUT,
    constants: constants!("HAS_BIAS", "A_ALONG_K", "B_ALONG_K"; window, epilogue),
};

pub(crate) const BACKWARD_WEIGHT: Kernel = Kernel {
    name: "conv2d_backward_weight",
    source: source!(
        "conv2d_backward_weight.wgsl",
        "core/product_tiled.wgsl",
        "core/flat.wgsl"
    ),
    bindings: &[Read, Read, ReadWrite],
    params: BackwardWeightParams::LAYOUT,
    constants: constants!("A_ALONG_K", "B_ALONG_K"; window),
};

pub(crate) const DIRECT_FORWARD: Kernel = Kernel {
    name: "conv2d_direct_forward",
    source: source!(
        "conv2d_direct_forward.wgsl",
        "core/epilogue.wgsl",
        "core/activation.wgsl",
        "core/activation_base.wgsl",
        "core/flat.wgsl"
    ),
    bindings: &[Read, Read, Read, Read, ReadWrite],
    params: Params::LAYOUT,
    constants: constants!("HAS_BIAS"; window, epilogue),
};

pub(crate) const DIRECT_BACKWARD_INPUT: Kernel = Kernel {
    name: "conv2d_direct_backward_input",
    source: source!(
        "conv2d_direct_backward_input.wgsl",
        "core/epilogue.wgsl",
        "core/activation.wgsl",
        "core/activation_base.wgsl",
        "core/flat.wgsl"
    ),
    bindings: &[Read, Read, Read, Read, ReadWrite],
    params: Params::LAYOUT,
    constants: constants!("HAS_BIAS"; window, epilogue),
};

pub(crate) const DIRECT_BACKWARD_WEIGHT: Kernel = Kernel {
    name: "conv2d_direct_backward_weight",
    source: source!(
        "conv2d_direct_backward_weight.wgsl",
        "core/reduce.wgsl",
        "core/flat.wgsl"
    ),
    bindings: &[Read, Read, ReadWrite],
    params: Params::LAYOUT,
    constants: constants!(; window),
};

/// `y = conv(x, w) + b` through the output's epilogue.
pub(crate) fn forward(
    recording: &mut Recording,
    geometry: &Conv2dGeometry,
    [input, weight]: [Region; 2],
    bias: Option<Region>,
    output: Output,
) {
    let strategy = strategy::conv2d_forward(&recording.traits, geometry);
    if strategy == ConvStrategy::Rows {
        return conv2d_rows::forward(recording, geometry, [input, weight], bias, output);
    }
    let mut constants = window_constants(geometry).to_vec();
    constants.push(("HAS_BIAS", flag(bias.is_some())));
    constants.extend(output.constants());
    let regions = [
        Some(input),
        Some(weight),
        bias,
        output.saved(),
        Some(output.region),
    ];
    let [_, in_channels, kernel_h, kernel_w] = geometry.weight_shape();
    let inner = in_channels * kernel_h * kernel_w;
    if strategy == ConvStrategy::Direct {
        recording.iterations(inner + in_channels * (1 + kernel_h));
        let grid = flat_grid(geometry.output_len());
        recording.dispatch(
            &DIRECT_FORWARD,
            &constants,
            &regions,
            params(geometry),
            grid,
        );
    } else {
        constants.extend([("A_ALONG_K", 1.0), ("B_ALONG_K", 0.0)]);
        let pixels = geometry.batch * geometry.out_size.area();
        let channels = geometry.out_channels / geometry.groups;
        let grid = product_grid(recording, [channels, pixels, inner], geometry.groups);
        recording.dispatch(&FORWARD, &constants, &regions, params(geometry), grid);
    }
    recording.flops(geometry.flops());
}

/// The gradient with respect to the input, from the gradient with respect to the output; for a
/// transpose convolution, its forward pass, with a bias.
pub(crate) fn backward_input(
    recording: &mut Recording,
    geometry: &Conv2dGeometry,
    [gradient_output, weight]: [Region; 2],
    bias: Option<Region>,
    output: Output,
) {
    let inputs = [gradient_output, weight];
    let strategy = strategy::conv2d_backward_input(&recording.traits, geometry);
    if strategy == ConvStrategy::Rows {
        return conv2d_rows::backward_input(recording, geometry, inputs, bias, output);
    }
    let mut constants = window_constants(geometry).to_vec();
    constants.push(("HAS_BIAS", flag(bias.is_some())));
    constants.extend(output.constants());
    let regions = [
        Some(gradient_output),
        Some(weight),
        bias,
        output.saved(),
        Some(output.region),
    ];
    let [out_channels, _, kernel_h, kernel_w] = geometry.weight_shape();
    let filters = out_channels / geometry.groups;
    let inner = filters * kernel_h * kernel_w;
    if strategy == ConvStrategy::Direct {
        recording.iterations(inner + filters * (1 + kernel_h));
        let grid = flat_grid(geometry.input_len());
        recording.dispatch(
            &DIRECT_BACKWARD_INPUT,
            &constants,
            &regions,
            params(geometry),
            grid,
        );
    } else {
        constants.extend([("A_ALONG_K", 1.0), ("B_ALONG_K", 0.0)]);
        let pixels = geometry.batch * geometry.in_size.area();
        let channels = geometry.in_channels / geometry.groups;
        let grid = product_grid(recording, [channels, pixels, inner], geometry.groups);
        recording.dispatch(
            &BACKWARD_INPUT,
            &constants,
            &regions,
            params(geometry),
            grid,
        );
    }
    recording.flops(geometry.flops());
}

/// The gradient with respect to the weights, from the input and the gradient with respect to the
/// output. `planned` is the geometry of the largest batch, which decides how the sum is split.
pub(crate) fn backward_weight(
    recording: &mut Recording,
    [geometry, planned]: [&Conv2dGeometry; 2],
    [input, gradient_output]: [Region; 2],
    gradient_weight: Region,
) {
    let inputs = [input, gradient_output];
    let regions = [Some(gradient_output), Some(input), Some(gradient_weight)];
    let mut constants = window_constants(geometry).to_vec();
    let pixels = planned.batch * planned.out_size.area();
    match strategy::conv2d_backward_weight(&recording.traits, planned) {
        ConvStrategy::Rows => {
            conv2d_rows::backward_weight(recording, [geometry, planned], inputs, gradient_weight);
        }
        ConvStrategy::Direct => {
            recording.iterations(pixels.div_ceil(64));
            let (params, grid) = (params(geometry), group_grid(geometry.weight_len()));
            recording.dispatch(&DIRECT_BACKWARD_WEIGHT, &constants, &regions, params, grid);
            recording.flops(geometry.flops());
        }
        ConvStrategy::Tiled => {
            let [out_channels, in_channels, kernel_h, kernel_w] = geometry.weight_shape();
            let (m, n) = (
                out_channels / geometry.groups,
                in_channels * kernel_h * kernel_w,
            );
            let tiles = m.div_ceil(TILE) * n.div_ceil(TILE) * geometry.groups;
            let parts = strategy::weight_gradient_parts(tiles, pixels);
            let len = geometry.weight_len();
            let target = match parts {
                1 => gradient_weight,
                _ => recording.transient("weight gradient parts", parts * len),
            };
            constants.extend([("A_ALONG_K", 1.0), ("B_ALONG_K", 1.0)]);
            let regions = [Some(gradient_output), Some(input), Some(target)];
            let params = backward_weight_params(geometry, parts);
            let slices = geometry.groups * parts;
            let grid = product_grid(recording, [m, n, pixels.div_ceil(parts)], slices);
            recording.dispatch(&BACKWARD_WEIGHT, &constants, &regions, params, grid);
            recording.flops(geometry.flops());
            if parts > 1 {
                reduce::sum_parts(recording, target, parts, gradient_weight, len);
            }
        }
    }
}

fn params(geometry: &Conv2dGeometry) -> Params {
    Params {
        batch: geometry.batch as u32,
        groups: geometry.groups as u32,
        in_channels: (geometry.in_channels / geometry.groups) as u32,
        in_height: geometry.in_size.height as u32,
        in_width: geometry.in_size.width as u32,
        out_channels: (geometry.out_channels / geometry.groups) as u32,
        out_height: geometry.out_size.height as u32,
        out_width: geometry.out_size.width as u32,
    }
}

fn backward_weight_params(geometry: &Conv2dGeometry, parts: usize) -> BackwardWeightParams {
    let Params {
        batch,
        groups,
        in_channels,
        in_height,
        in_width,
        out_channels,
        out_height,
        out_width,
    } = params(geometry);
    BackwardWeightParams {
        batch,
        groups,
        in_channels,
        in_height,
        in_width,
        out_channels,
        out_height,
        out_width,
        parts: parts as u32,
    }
}

fn window_constants(geometry: &Conv2dGeometry) -> [(&'static str, f64); 8] {
    let [top, _, left, _] = geometry.padding;
    super::window_constants(
        geometry.kernel,
        geometry.stride,
        [top, left],
        geometry.dilation,
    )
}
