//! Convolution: forward, input gradient, weight gradient. A transpose convolution is the same
//! kernels with the roles changed.

use super::product::{Product, product};
use super::{Output, Read, ReadWrite, Recording, Region};
use super::{blocks, flag, flat_grid, group_grid, reduce};
use super::{
    conv2d_depthwise, conv2d_fft, conv2d_pack, conv2d_rows, conv2d_strided, conv2d_unfolded,
};
use super::{conv2d_winograd, conv2d_winograd_gradient};
use crate::gpu::kernel::{Format, Kernel, Params as _, source};
use crate::gpu::strategy::winograd::Form;
use crate::gpu::strategy::{self, Core, Extents, Work};
use crate::gpu::work::{Phases, period};
use crate::op::{Conv2dGeometry, Size2};

/// Params that begin with the extents of a convolution. Channels are those of one group.
macro_rules! conv2d_params {
    ($(#[$meta:meta])* struct $name:ident { $($field:ident: $type:ident),* $(,)? }) => {
        $crate::gpu::kernel::params! {
            $(#[$meta])*
            struct $name {
                batch: u32,
                groups: u32,
                in_channels: u32,
                in_height: u32,
                in_width: u32,
                out_channels: u32,
                out_height: u32,
                out_width: u32,
                $($field: $type),*
            }
        }
        impl $name {
            /// Those of a convolution, with zeros behind its extents.
            fn of(geometry: &$crate::op::Conv2dGeometry) -> Self {
                let [batch, groups, in_channels, in_height, in_width, out_channels, out_height, out_width] =
                    $crate::gpu::kernels::conv2d::extents(geometry);
                Self {
                    batch,
                    groups,
                    in_channels,
                    in_height,
                    in_width,
                    out_channels,
                    out_height,
                    out_width,
                    ..bytemuck::Zeroable::zeroed()
                }
            }
        }
    };
}
pub(super) use conv2d_params;

conv2d_params! {
    /// `parts` is what a weight gradient's sums are split into.
    struct Params {
        parts: u32,
    }
}

pub(crate) const FORWARD: Product = product!(
    "conv2d_forward",
    bindings: &[Read, Read, Read, Read, ReadWrite],
    formats: &[(0, "Input"), (1, "Weight"), (3, "Saved"), (4, "Output")],
    params: Params,
    constants: ["HAS_BIAS"],
    source: "conv2d_forward.wgsl",
    blocks: [&blocks::CONV2D_PARAMS, &blocks::WINDOW, &blocks::EPILOGUE],
    quads: [&blocks::TAP_QUADS, &blocks::TAP_QUADS]
);

pub(crate) const BACKWARD_INPUT: Product = product!(
    "conv2d_backward_input",
    bindings: &[Read, Read, Read, Read, ReadWrite],
    formats: &[(0, "Gradient"), (1, "Weight"), (3, "Saved"), (4, "Output")],
    params: Params,
    constants: ["HAS_BIAS", "FOLDED"],
    source: "conv2d_backward_input.wgsl",
    blocks: [&blocks::CONV2D_PARAMS, &blocks::WINDOW, &blocks::PHASES, &blocks::EPILOGUE],
    quads: [&blocks::TAP_QUADS, &blocks::TAP_QUADS]
);

pub(crate) const BACKWARD_WEIGHT: Product = product!(
    "conv2d_backward_weight",
    bindings: &[Read, Read, ReadWrite, ReadWrite],
    formats: &[(0, "Gradient"), (1, "Input")],
    params: Params,
    constants: ["ROW_SUMS"],
    source: "conv2d_backward_weight.wgsl",
    blocks: [&blocks::CONV2D_PARAMS, &blocks::WINDOW],
    quads: [&blocks::ELEMENT_QUADS, &blocks::ELEMENT_QUADS_KEPT]
);

pub(crate) const DIRECT_FORWARD: Kernel = Kernel {
    name: "conv2d_direct_forward",
    source: source!("conv2d_direct_forward.wgsl"),
    blocks: &[
        &blocks::CONV2D_PARAMS,
        &blocks::WINDOW,
        &blocks::EPILOGUE,
        &blocks::FLAT,
    ],
    bindings: &[Read, Read, Read, Read, ReadWrite],
    formats: &[(0, "Input"), (1, "Weight"), (3, "Saved"), (4, "Output")],
    params: Params::LAYOUT,
    constants: &["HAS_BIAS"],
};

pub(crate) const DIRECT_WIDE_FORWARD: Kernel = Kernel {
    name: "conv2d_direct_wide_forward",
    source: source!("conv2d_direct_wide_forward.wgsl"),
    blocks: &[
        &blocks::CONV2D_PARAMS,
        &blocks::WINDOW,
        &blocks::EPILOGUE,
        &blocks::FLAT,
    ],
    bindings: &[Read, Read, Read, Read, ReadWrite],
    formats: &[(0, "Input"), (1, "Weight"), (3, "Saved"), (4, "Output")],
    params: Params::LAYOUT,
    constants: &["HAS_BIAS", "QUADS", "ROOM"],
};

pub(crate) const DIRECT_BACKWARD_INPUT: Kernel = Kernel {
    name: "conv2d_direct_backward_input",
    source: source!("conv2d_direct_backward_input.wgsl"),
    blocks: &[
        &blocks::CONV2D_PARAMS,
        &blocks::WINDOW,
        &blocks::PHASES,
        &blocks::EPILOGUE,
        &blocks::FLAT,
    ],
    bindings: &[Read, Read, Read, Read, ReadWrite],
    formats: &[(0, "Gradient"), (1, "Weight"), (3, "Saved"), (4, "Output")],
    params: Params::LAYOUT,
    constants: &["HAS_BIAS"],
};

pub(crate) const DIRECT_BACKWARD_WEIGHT: Kernel = Kernel {
    name: "conv2d_direct_backward_weight",
    source: source!("conv2d_direct_backward_weight.wgsl"),
    blocks: &[
        &blocks::CONV2D_PARAMS,
        &blocks::WINDOW,
        &blocks::REDUCE,
        &blocks::FLAT,
    ],
    bindings: &[Read, Read, ReadWrite],
    formats: &[(0, "Gradient"), (1, "Input")],
    params: Params::LAYOUT,
    constants: &[],
};

#[cfg(test)]
pub(super) const KERNELS: &[&Kernel] = &[
    FORWARD.by_4x4,
    FORWARD.by_8x4,
    FORWARD.by_2x4.unwrap(),
    BACKWARD_INPUT.by_4x4,
    BACKWARD_INPUT.by_8x4,
    BACKWARD_INPUT.by_2x4.unwrap(),
    BACKWARD_WEIGHT.by_4x4,
    BACKWARD_WEIGHT.by_8x4,
    BACKWARD_WEIGHT.by_2x4.unwrap(),
    &DIRECT_FORWARD,
    &DIRECT_WIDE_FORWARD,
    &DIRECT_BACKWARD_INPUT,
    &DIRECT_BACKWARD_WEIGHT,
];

/// A pass from images and weights to images.
type ToImages = fn(&mut Recording, &Conv2dGeometry, [Region; 2], Option<Region>, Output);
/// A pass from images and the gradient of others to that of the weights, and of a bias where the pass sums the outputs' gradient
/// on the way. Gives the bias's place if its gradient is yet to be made.
type ToParameters =
    fn(&mut Recording, &Conv2dGeometry, [Region; 2], (Region, Option<Region>)) -> Option<Region>;

/// The passes of a core that has kernels of its own.
struct Passes {
    forward: ToImages,
    backward_input: ToImages,
    backward_weight: Option<ToParameters>,
}

/// The weight gradient's pass of a core that does not sum the outputs' gradient.
macro_rules! to_weights {
    ($core:ident) => {
        Some(|to, geometry, inputs, (weight, bias)| {
            $core::backward_weight(to, geometry, inputs, weight);
            bias
        })
    };
}

macro_rules! passes {
    ($core:ident, $backward_weight:expr) => {
        Some(Passes {
            forward: $core::forward,
            backward_input: $core::backward_input,
            backward_weight: $backward_weight,
        })
    };
    ($core:ident, $weights:ident of $form:expr) => {
        Some(Passes {
            forward: |to, geometry, inputs, bias, output| {
                $core::forward(to, $form, geometry, inputs, bias, output)
            },
            backward_input: |to, geometry, inputs, bias, output| {
                $core::backward_input(to, $form, geometry, inputs, bias, output)
            },
            backward_weight: Some(|to, geometry, inputs, (weight, bias)| {
                $weights::backward_weight(to, $form, geometry, inputs, weight);
                bias
            }),
        })
    };
}

impl Passes {
    /// Those of a core that there is in this program. The other cores are the product, and the direct kernels of this file.
    fn of(core: Core) -> Option<Self> {
        if !core.exists() {
            return None;
        }
        match core {
            Core::Rows => passes!(conv2d_rows, Some(conv2d_rows::backward_weight)),
            Core::Strided => passes!(conv2d_strided, Some(conv2d_strided::backward_weight)),
            Core::Depthwise => passes!(conv2d_depthwise, to_weights!(conv2d_depthwise)),
            Core::Unfolded => passes!(conv2d_unfolded, to_weights!(conv2d_unfolded)),
            Core::Fft => passes!(conv2d_fft, to_weights!(conv2d_fft)),
            Core::WinogradSubgroup => {
                passes!(conv2d_winograd, conv2d_winograd_gradient of Form::Subgroup)
            }
            Core::WinogradTiled => {
                passes!(conv2d_winograd, conv2d_winograd_gradient of Form::Tiled)
            }
            Core::Tiled32
            | Core::Tiled64
            | Core::Tiled128
            | Core::TiledLean
            | Core::Subgroup
            | Core::Direct => None,
        }
    }
}

/// `y = conv(x, w) + b` through the output's epilogue.
pub(crate) fn forward(
    recording: &mut Recording,
    geometry: &Conv2dGeometry,
    inputs: [Region; 2],
    bias: Option<Region>,
    output: Output,
) {
    let work = Work::Conv2dForward(*geometry);
    let core = recording.core(&work, formats(inputs, output.region));
    if let Some(passes) = Passes::of(core) {
        return (passes.forward)(recording, geometry, inputs, bias, output);
    }
    let kernels = (&DIRECT_FORWARD, &FORWARD);
    if core == Core::Direct && strategy::wide(&work) {
        let extents = work.extents();
        let Extents { m, n, k, slices } = extents;
        let quads = strategy::wide_quads(&recording.traits, &extents);
        let [x, y, _] = flat_grid(n);
        let grid = [x, y, (m.div_ceil(4 * quads) * slices) as u64];
        let (mut constants, regions) = image_bindings(recording, geometry, inputs, bias, output);
        constants.push(("QUADS", quads as f64));
        constants.push(("ROOM", (quads * strategy::wide_room(k)) as f64));
        recording.iterations(3 * k + quads * k.div_ceil(64) + 32);
        let params = params(geometry, 1);
        recording.dispatch(&DIRECT_WIDE_FORWARD, &constants, &regions, params, grid);
        recording.flops(work.flops());
        return;
    }
    to_images(recording, core, &work, kernels, inputs, bias, output);
}

/// The gradient with respect to the input, from the gradient with respect to the output; for a
/// transpose convolution, its forward pass, with a bias. `inputs` are the gradient and the weights.
pub(crate) fn backward_input(
    recording: &mut Recording,
    geometry: &Conv2dGeometry,
    inputs: [Region; 2],
    bias: Option<Region>,
    output: Output,
) {
    let work = Work::Conv2dBackwardInput(*geometry);
    let core = recording.core(&work, formats(inputs, output.region));
    if let Some(passes) = Passes::of(core) {
        return (passes.backward_input)(recording, geometry, inputs, bias, output);
    }
    let kernels = (&DIRECT_BACKWARD_INPUT, &BACKWARD_INPUT);
    to_images(recording, core, &work, kernels, inputs, bias, output);
}

/// Either of the two by the direct kernel or by the product: images and weights to images.
fn to_images(
    recording: &mut Recording,
    core: Core,
    work: &Work,
    (direct, product): (&'static Kernel, &Product),
    inputs: [Region; 2],
    bias: Option<Region>,
    output: Output,
) {
    let Some((geometry, backward)) = work.image_pass() else {
        return;
    };
    let extents = work.extents();
    let (channels, size) = match backward {
        true => (geometry.in_channels, geometry.in_size),
        false => (geometry.out_channels, geometry.out_size),
    };
    let images = [geometry.batch, channels, size.area()];
    let Size2 { height, width } = period(geometry);
    let periods = [("PERIOD_H", height as f64), ("PERIOD_W", width as f64)];
    if core == Core::Direct {
        let (mut constants, regions) = image_bindings(recording, geometry, inputs, bias, output);
        if backward {
            constants.extend(periods);
        }
        recording.iterations(strategy::direct_iterations(geometry, extents.k));
        let (params, grid) = (params(geometry, 1), flat_grid(images.iter().product()));
        recording.dispatch(direct, &constants, &regions, params, grid);
        recording.flops(work.flops());
        return;
    }
    let traits = recording.traits;
    let parts = recording.parts(|| strategy::sum_parts(&traits, work, core));
    let (to, bias_now) = match parts {
        1 => (output, bias),
        _ => {
            let len = parts * images.iter().product::<usize>();
            (recording.transient("product parts", len).into(), None)
        }
    };
    let weights = conv2d_pack::tiles(recording, geometry, inputs[1], backward);
    let inputs = [inputs[0], weights];
    let (mut constants, regions) = image_bindings(recording, geometry, inputs, bias_now, to);
    let phases = Phases::of(geometry);
    if backward {
        constants.extend(periods);
        constants.push(("FOLDED", flag(phases.folded())));
    }
    let apart = backward && phases.slices > 1;
    constants.extend([
        ("A_ALONG_K", 0.0),
        ("B_ALONG_K", 0.0),
        ("TAPS_APART", flag(apart)),
    ]);
    let (params, extents) = (params(geometry, parts), extents.split(parts));
    product.dispatch(recording, core, extents, constants, &regions, params);
    recording.flops(work.flops());
    if parts > 1 {
        reduce::sum_parts(recording, to.region, parts, images, bias, output);
    }
}

/// The constants and the bindings of the kernels that take images and weights to images.
fn image_bindings(
    recording: &mut Recording,
    geometry: &Conv2dGeometry,
    [images, weight]: [Region; 2],
    bias: Option<Region>,
    output: Output,
) -> (Vec<(&'static str, f64)>, [Option<Region>; 5]) {
    let mut constants = window_constants(geometry).to_vec();
    constants.push(("HAS_BIAS", flag(bias.is_some())));
    constants.extend(output.constants(recording));
    let regions = [
        Some(images),
        Some(weight),
        bias,
        output.saved(),
        Some(output.region),
    ];
    (constants, regions)
}

/// The gradient with respect to the weights, from the input and the gradient with respect to the
/// output; and that with respect to a bias.
pub(crate) fn backward_weight(
    recording: &mut Recording,
    geometry: &Conv2dGeometry,
    inputs: [Region; 2],
    to: (Region, Option<Region>),
) {
    let work = Work::Conv2dBackwardWeight(*geometry);
    let core = recording.core(&work, formats(inputs, to.0));
    let bias = match Passes::of(core).and_then(|passes| passes.backward_weight) {
        Some(pass) => pass(recording, geometry, inputs, to),
        None => product_of_gradients(recording, core, geometry, inputs, to),
    };
    if let Some(bias) = bias {
        let area = geometry.out_size.area();
        let extents = [geometry.batch, geometry.out_channels, area];
        reduce::bias_gradient(recording, extents, inputs[1], bias);
    }
}

/// The same by the direct kernel, or by the product. Gives the bias's place if its gradient is yet to be made.
fn product_of_gradients(
    recording: &mut Recording,
    core: Core,
    geometry: &Conv2dGeometry,
    [input, gradient_output]: [Region; 2],
    (gradient_weight, gradient_bias): (Region, Option<Region>),
) -> Option<Region> {
    let work = Work::Conv2dBackwardWeight(*geometry);
    let (extents, len) = (work.extents(), geometry.weight_len());
    let traits = recording.traits;
    let parts = recording.parts(|| match core {
        Core::Direct => strategy::group_parts(len, extents.k)
            .min(traits.holds(len))
            .max(1),
        Core::Tiled32
        | Core::Tiled64
        | Core::Tiled128
        | Core::TiledLean
        | Core::Subgroup
        | Core::Rows
        | Core::Strided
        | Core::Depthwise
        | Core::Unfolded
        | Core::WinogradSubgroup
        | Core::WinogradTiled
        | Core::Fft => strategy::sum_parts(&traits, &work, core),
    });
    // In parts, the bias's is behind the weights'.
    let slab = len + geometry.out_channels;
    let sums = core != Core::Direct && parts <= traits.holds(slab);
    let [bias, rest] = [sums, !sums].map(|here| gradient_bias.filter(|_| here));
    let target = match parts {
        1 => gradient_weight,
        _ => recording.transient("weight gradient parts", parts * bias.map_or(len, |_| slab)),
    };
    let bias_now = bias.filter(|_| parts == 1);
    let regions = [Some(gradient_output), Some(input), Some(target), bias_now];
    let mut constants = window_constants(geometry).to_vec();
    let params = params(geometry, parts);
    if core == Core::Direct {
        recording.iterations(strategy::group_iterations(extents.k.div_ceil(parts)));
        let grid = group_grid(parts * len);
        let [regions @ .., _] = regions;
        recording.dispatch(&DIRECT_BACKWARD_WEIGHT, &constants, &regions, params, grid);
    } else {
        constants.extend([("A_ALONG_K", 1.0), ("B_ALONG_K", 1.0)]);
        constants.extend(bias.map(|_| ("ROW_SUMS", flag(true))));
        let extents = extents.split(parts);
        BACKWARD_WEIGHT.dispatch(recording, core, extents, constants, &regions, params);
    }
    recording.flops(work.flops());
    if parts > 1 {
        let (lens, to) = ([len, slab - len], (gradient_weight, bias));
        reduce::sum_parts_of_two(recording, target, parts, lens, to);
    }
    rest
}

/// How the inputs and the result of a pass lie in memory.
fn formats([a, b]: [Region; 2], result: Region) -> [Format; 3] {
    [a, b, result].map(|region| region.format)
}

/// What the params of all cores begin with: the batch, the groups, and of a group's input and output the channels, the
/// height and the width.
pub(super) fn extents(geometry: &Conv2dGeometry) -> [u32; 8] {
    let Size2 { height, width } = geometry.in_size;
    [
        geometry.batch,
        geometry.groups,
        geometry.in_channels / geometry.groups,
        height,
        width,
        geometry.out_channels / geometry.groups,
        geometry.out_size.height,
        geometry.out_size.width,
    ]
    .map(|extent| extent as u32)
}

fn params(geometry: &Conv2dGeometry, parts: usize) -> Params {
    Params {
        parts: parts as u32,
        ..Params::of(geometry)
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

#[cfg(test)]
#[path = "conv2d_tests.rs"]
mod tests;
