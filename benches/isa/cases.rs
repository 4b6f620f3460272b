//! Which pipelines are looked at: those of the networks that are timed, and of products and convolutions at typical
//! shapes on every core that GPUs take.

use std::collections::HashSet;

use wgpu_cnn::engine::catalogue::{Pipeline, pipelines};
use wgpu_cnn::{Conv2d, Loss, Model, ModelBuilder, Optimizer};

use super::compilers::Vendor;
use crate::networks;

/// Cores that serve on a GPU.
const CORES: [&str; 5] = ["tiled-128", "tiled-64", "tiled-32", "depthwise", "direct"];
/// The one that serves where registers are few.
const LEAN: &str = "tiled-lean";

/// A pipeline to look at.
pub struct Case {
    /// Its kernel, with what of its constants tells it from others, and its core.
    pub name: String,
    pub pipeline: Pipeline,
    /// The loops in which it multiplies.
    pub nest: Option<Nest>,
}

/// The loops of a text, from the one within that of which a turn is looked at inwards.
pub struct Nest {
    /// Their turns.
    pub turns: Vec<usize>,
    /// Multiply-adds of all of them.
    pub multiply_adds: usize,
}

/// Each pipeline that a vendor's GPUs are given once, under the first name that it has.
pub fn all(vendor: Vendor) -> Result<Vec<Case>, String> {
    let (mut cases, mut known, mut names) = (Vec::new(), HashSet::new(), HashSet::new());
    for pipeline in pipelines_of_all(vendor).map_err(|error| error.to_string())? {
        if !known.insert((pipeline.wgsl.clone(), format!("{:?}", pipeline.constants))) {
            continue;
        }
        let (core, nest) = core(&pipeline).unzip();
        let nest = nest.flatten();
        let name = name(&pipeline, core);
        if !names.insert(name.clone()) {
            return Err(format!("two pipelines are called {name}"));
        }
        cases.push(Case {
            name,
            pipeline,
            nest,
        });
    }
    Ok(cases)
}

fn pipelines_of_all(vendor: Vendor) -> wgpu_cnn::Result<Vec<Pipeline>> {
    let few = vendor == Vendor::Intel;
    let (loss, momentum) = (Loss::default(), Optimizer::sgd(0.01).momentum(0.9).into());
    let mut all = Vec::new();
    for (model, optimizer) in [
        (networks::lenet([1, 28, 28]), momentum),
        (networks::vgg([3, 32, 32]), Optimizer::adam(1e-3).into()),
    ] {
        all.extend(pipelines(&model, &loss, &optimizer, 64, false, None, few)?);
    }
    let squares = Loss::mean_squared_error();
    let mut add = |model: &Model, half, core| -> wgpu_cnn::Result<()> {
        let found = pipelines(model, &squares, &momentum, 64, half, core, few)?;
        let is_product = |pipeline: &Pipeline| {
            ["matmul", "conv2d"]
                .iter()
                .any(|p| pipeline.kernel.starts_with(p))
        };
        all.extend(found.into_iter().filter(is_product));
        Ok(())
    };
    for core in CORES.into_iter().chain(few.then_some(LEAN)).map(Some) {
        let models = match core {
            Some("depthwise") => vec![grouped(128)?],
            Some("direct") => vec![grouped(16)?],
            _ => vec![twice(3, 1)?, twice(3, 2)?, twice(1, 1)?, dense()?],
        };
        for model in &models {
            add(model, false, core)?;
        }
    }
    add(&twice(3, 1)?, true, Some("tiled-128"))?;
    add(&dense()?, true, Some("tiled-128"))?;
    Ok(all)
}

/// Two convolutions of 128 channels, of which the second has an input gradient.
fn twice(kernel: usize, stride: usize) -> wgpu_cnn::Result<Model> {
    let layer = Conv2d::new(128, kernel).stride(stride).padding(kernel / 2);
    Model::builder([128, 56, 56])
        .push(layer.clone())
        .relu()
        .push(layer)
        .build()
}

/// Groups of few channels, or of one each.
fn grouped(groups: usize) -> wgpu_cnn::Result<Model> {
    let layer = |stride| {
        let layer = Conv2d::new(128, 3).groups(groups);
        layer.stride(stride).padding(1)
    };
    let model: ModelBuilder = Model::builder([128, 56, 56]);
    model
        .push(layer(1))
        .relu()
        .push(layer(1))
        .relu()
        .push(layer(2))
        .build()
}

fn dense() -> wgpu_cnn::Result<Model> {
    Model::builder([4096])
        .dense(4096)
        .relu()
        .dense(4096)
        .build()
}

/// The value of a constant; 0 where it has none.
fn constant(pipeline: &Pipeline, name: &str) -> usize {
    let found = pipeline.constants.iter().find(|(other, _)| *other == name);
    found.map_or(0, |&(_, value)| value as usize)
}

/// The core of a product or a convolution, and its loops: `core/product_*.wgsl`, `conv2d_direct_*.wgsl`. Those of the
/// core for depthwise convolution depend on the image.
fn core(pipeline: &Pipeline) -> Option<(String, Option<Nest>)> {
    let nest = |turns: &[usize], results| {
        Some(Nest {
            turns: turns.to_vec(),
            multiply_adds: results * turns.iter().product::<usize>(),
        })
    };
    let window = ["KERNEL_H", "KERNEL_W"].map(|name| constant(pipeline, name));
    let kernel = pipeline.kernel;
    Some(match constant(pipeline, "SIDE") {
        // Steps of a block of 32, and along k within one.
        side @ 1.. => (format!("tiled-{}", 4 * side), nest(&[32 / side, side], 16)),
        0 if kernel.ends_with("_2x4") => (LEAN.into(), nest(&[2, 16], 8)),
        0 if kernel.ends_with("_8x4") => ("tiled-128".into(), nest(&[4, 2, 8], 32)),
        0 if kernel == "conv2d_direct_wide_forward" => {
            let channels = 4 * constant(pipeline, "QUADS");
            ("direct".into(), nest(&window, channels))
        }
        // The values of a block of the sum over pixels.
        0 if kernel == "conv2d_direct_backward_weight" => ("direct".into(), nest(&[16], 1)),
        0 if kernel.starts_with("conv2d_direct") => ("direct".into(), nest(&window, 1)),
        0 if kernel.starts_with("conv2d_depthwise") => ("depthwise".into(), None),
        0 => return None,
    })
}

fn name(pipeline: &Pipeline, core: Option<String>) -> String {
    let kernel = pipeline.kernel;
    let kernel = kernel
        .strip_suffix("_4x4")
        .or(kernel.strip_suffix("_8x4"))
        .or(kernel.strip_suffix("_2x4"))
        .unwrap_or(kernel);
    let mut words = vec![kernel.to_string()];
    let [height, width] = ["KERNEL_H", "KERNEL_W"].map(|name| constant(pipeline, name));
    if height > 0 {
        words.push(format!("{height}x{width}"));
    }
    for &(name, value) in &pipeline.constants {
        // What the core and the transpositions say already, and what is in the words above.
        let said = ["KERNEL_", "SIDE", "INNER", "A_ALONG_K", "B_ALONG_K"]
            .iter()
            .any(|p| name.starts_with(p));
        let usual = value == 0.0
            || (value == 1.0
                && ["STRIDE", "DILATION", "PERIOD"]
                    .iter()
                    .any(|p| name.starts_with(p)));
        match value {
            _ if said || usual => {}
            1.0 => words.push(name.to_lowercase()),
            _ => words.push(format!("{}={value}", name.to_lowercase())),
        }
    }
    // The buffers of half precision, as the text declares them in front.
    let aliases = pipeline.wgsl.split("alias ").skip(1);
    let halves = aliases.filter_map(|alias| alias.split_once(" = f16;"));
    words.extend(halves.map(|(alias, _)| format!("{}=f16", alias.to_lowercase())));
    words.extend(core);
    words.join(" ")
}
