//! The library's layers, losses and optimizers by their names in the cases.

use serde_json::Value;
use wgpu_cnn::{
    Activation, AdaptiveAvgPool2d, AdaptiveMaxPool2d, Add, AvgPool2d, BatchNorm, ChannelPermute,
    ChannelShuffle, Conv2d, ConvTranspose2d, Dropout, Flatten, GlobalPool, GroupNorm, InstanceNorm,
    LayerNorm, LayerNormChannels, Linear, LocalResponseNorm, Loss, MaxPool2d, Mul, Op, Optimizer,
    Pad2d, PaddingMode, PixelShuffle, PixelUnshuffle, Prelu, Reduction, Scale, Size2, Slice,
    Softmax, Upsample2d,
};

use crate::options::{Options, extent};

/// A layer with its options. The number of outputs is 0 where the options leave it to the weights.
pub fn layer(name: &str, options: &Options) -> Result<Op, String> {
    let unknown = || Err(format!("unknown operator {name:?}"));
    let (family, axes) = match name.split_at_checked(name.len().saturating_sub(2)) {
        Some((family, "1d")) => (family, 1),
        Some((family, "2d")) => (family, 2),
        _ => (name, 0),
    };
    if axes == 0 {
        return match name {
            "linear" => {
                options.redundant(&["in_features"]);
                let outputs = options.extent("out_features", 0)?;
                Ok(Linear::new(outputs)
                    .bias(options.flag("bias", true)?)
                    .into())
            }
            "flatten" => Ok(Flatten.into()),
            "dropout" => Ok(Dropout::new(options.number("p", 0.5)?).into()),
            "layer_norm" => {
                options.redundant(&["normalized_shape"]);
                Ok(LayerNorm::new()
                    .epsilon(options.number("eps", 1e-5)?)
                    .into())
            }
            "pixel_shuffle" => Ok(PixelShuffle::new(options.extent("r", 1)?).into()),
            "pixel_unshuffle" => Ok(PixelUnshuffle::new(options.extent("r", 1)?).into()),
            "prelu" => {
                let weights = options.extent("num_parameters", 1)?;
                Ok(Prelu::new().per_channel(weights != 1).into())
            }
            "add" => Ok(Add.into()),
            "mul" => Ok(Mul.into()),
            "scale" => Ok(Scale::new().bias(options.flag("bias", false)?).into()),
            "slice" => {
                // Counted with the batch.
                let axis = options
                    .extent("axis", 0)?
                    .checked_sub(1)
                    .ok_or("the batch, sliced")?;
                let range = options.extent("from", 0)?..options.extent("to", 0)?;
                Ok(Slice::new(axis, range).into())
            }
            "channel_shuffle" => Ok(ChannelShuffle::new(options.extent("groups", 0)?).into()),
            "channel_permute" => {
                let index = options.list("index", extent)?.ok_or("index is missing")?;
                Ok(ChannelPermute::new(index).into())
            }
            "layer_norm_channels" => Ok(LayerNormChannels::new()
                .epsilon(options.number("eps", 1e-5)?)
                .affine(options.flag("affine", true)?)
                .into()),
            "group_norm" => {
                options.redundant(&["num_channels"]);
                Ok(GroupNorm::new(options.extent("groups", 0)?)
                    .epsilon(options.number("eps", 1e-5)?)
                    .affine(options.flag("affine", true)?)
                    .into())
            }
            "local_response_norm" => Ok(LocalResponseNorm::new(options.extent("size", 0)?)
                .alpha(options.number("alpha", 1e-4)?)
                .beta(options.number("beta", 0.75)?)
                .k(options.number("k", 1.0)?)
                .into()),
            "softmax" | "log_softmax" => Ok(softmax(name, options)?.into()),
            _ => match activation(name, options)? {
                Some(activation) => Ok(activation.into()),
                None => unknown(),
            },
        };
    }
    if name == "upsample2d" {
        return Ok(upsample2d(options)?.into());
    }
    if let Some(family) = family.strip_prefix("adaptive_") {
        let size = options.size("size", axes, 1)?.ok_or("size is missing")?;
        return match family {
            "avg_pool" => Ok(AdaptiveAvgPool2d::new(size).into()),
            "max_pool" => Ok(AdaptiveMaxPool2d::new(size).into()),
            _ => unknown(),
        };
    }
    let stride = options.size("stride", axes, 1)?;
    let kernel = || {
        let size = options.size("kernel", axes, 1)?;
        size.ok_or_else(|| "kernel is missing".to_string())
    };
    let dilation = || Ok::<_, String>(options.size("dilation", axes, 1)?.unwrap_or(Size2::ONE));
    match family {
        "conv" => {
            options.redundant(&["in_channels"]);
            let outputs = options.extent("out_channels", 0)?;
            let conv = Conv2d::new(outputs, kernel()?)
                .padding_mode(padding_mode(options.text("padding_mode", "zeros")?)?)
                .stride(stride.unwrap_or(Size2::ONE))
                .padding(options.padding(axes)?)
                .dilation(dilation()?)
                .groups(options.extent("groups", 1)?)
                .bias(options.flag("bias", true)?);
            Ok(conv.into())
        }
        "conv_transpose" => {
            options.redundant(&["in_channels"]);
            let outputs = options.extent("out_channels", 0)?;
            let added = options
                .size("output_padding", axes, 0)?
                .unwrap_or(Size2::from(0));
            let conv = ConvTranspose2d::new(outputs, kernel()?)
                .stride(stride.unwrap_or(Size2::ONE))
                .padding(options.padding(axes)?)
                .output_padding(added)
                .dilation(dilation()?)
                .groups(options.extent("groups", 1)?)
                .bias(options.flag("bias", true)?);
            Ok(conv.into())
        }
        "max_pool" => {
            let kernel = kernel()?;
            let pool = MaxPool2d::new(kernel)
                .stride(stride.unwrap_or(kernel))
                .padding(options.padding(axes)?)
                .dilation(dilation()?)
                .ceil_mode(options.flag("ceil_mode", false)?);
            Ok(pool.into())
        }
        "avg_pool" => {
            let kernel = kernel()?;
            if dilation()? != Size2::ONE {
                return Err("unknown option \"dilation\" of mean pooling".into());
            }
            let pool = AvgPool2d::new(kernel)
                .stride(stride.unwrap_or(kernel))
                .padding(options.padding(axes)?)
                .ceil_mode(options.flag("ceil_mode", false)?)
                .count_include_pad(options.flag("count_include_pad", true)?);
            Ok(pool.into())
        }
        "pad" => {
            let mode = padding_mode(options.text("mode", "zeros")?)?;
            match options.list("sides", extent)?.as_deref() {
                Some(&[left, right, top, bottom]) => {
                    Ok(Pad2d::new([top, bottom, left, right]).mode(mode).into())
                }
                sides => Err(format!("sides are {sides:?}")),
            }
        }
        "global_avg_pool" => Ok(GlobalPool::Average.into()),
        "global_max_pool" => Ok(GlobalPool::Max.into()),
        "global_softmax_pool" => Ok(GlobalPool::Softmax.into()),
        "batch_norm" => {
            options.redundant(&["num_features"]);
            let norm = BatchNorm::new()
                .epsilon(options.number("eps", 1e-5)?)
                .momentum(options.number_or_null("momentum", 0.1)?)
                .affine(options.flag("affine", true)?)
                .frozen(options.flag("frozen", false)?);
            if norm.momentum.is_none() {
                options.redundant(&["num_batches_tracked"]); // a case's own, see `Case::batches`
            }
            match options.text("running_var", "unbiased")? {
                "unbiased" => Ok(norm.into()),
                other => Err(format!("unknown running_var {other:?}")),
            }
        }
        "instance_norm" => {
            options.redundant(&["num_features"]);
            Ok(InstanceNorm::new()
                .epsilon(options.number("eps", 1e-5)?)
                .affine(options.flag("affine", false)?)
                .into())
        }
        _ => unknown(),
    }
}

fn upsample2d(options: &Options) -> Result<Upsample2d, String> {
    let layer = match options.text("mode", "nearest")? {
        "nearest" => Upsample2d::nearest(),
        "bilinear" => Upsample2d::bilinear(),
        other => return Err(format!("unknown mode {other:?}")),
    };
    let layer = layer.align_corners(options.flag("align_corners", false)?);
    let scale = options.list("scale", Value::as_f64)?;
    match (options.size("size", 2, 1)?, scale.as_deref()) {
        (Some(size), None) => Ok(layer.size(size)),
        (None, Some(&[height, width])) => Ok(layer.scale([height, width])),
        (None, Some(&[both])) => Ok(layer.scale([both; 2])),
        (size, scale) => Err(format!("size {size:?} and scale {scale:?}")),
    }
}

fn padding_mode(name: &str) -> Result<PaddingMode, String> {
    match name {
        "zeros" => Ok(PaddingMode::Zeros),
        "reflect" => Ok(PaddingMode::Reflect),
        "replicate" => Ok(PaddingMode::Replicate),
        "circular" => Ok(PaddingMode::Circular),
        other => Err(format!("unknown padding mode {other:?}")),
    }
}

/// Softmax or its logarithm along an axis of the whole tensor, the batch included.
pub fn softmax(name: &str, options: &Options) -> Result<Softmax, String> {
    let axis = options.integer("axis", -1)? as isize;
    Ok(Softmax::new().axis(axis).log(name == "log_softmax"))
}

fn activation(name: &str, options: &Options) -> Result<Option<Activation>, String> {
    Ok(Some(match name {
        "relu" => Activation::Relu,
        "sigmoid" => Activation::Sigmoid,
        "tanh" => Activation::Tanh,
        "leaky_relu" => {
            let slope = options.number("slope", 0.01)?;
            Activation::LeakyRelu {
                slope: options.number("negative_slope", slope)? as f32,
            }
        }
        "gelu" | "gelu_erf" => Activation::Gelu,
        "gelu_tanh" => Activation::GeluTanh,
        "silu" => Activation::Silu,
        "softplus" => Activation::Softplus,
        "elu" => Activation::Elu {
            alpha: options.number("alpha", 1.0)? as f32,
        },
        "relu6" => Activation::Relu6,
        "hard_tanh" => Activation::HardTanh {
            min: options.number("min_val", -1.0)? as f32,
            max: options.number("max_val", 1.0)? as f32,
        },
        "hard_sigmoid" => Activation::HardSigmoid,
        "hard_swish" => Activation::HardSwish,
        "selu" => Activation::Selu,
        "celu" => Activation::Celu {
            alpha: options.number("alpha", 1.0)? as f32,
        },
        "mish" => Activation::Mish,
        "softsign" => Activation::Softsign,
        _ => return Ok(None),
    }))
}

/// A loss by its name as an operator or as a function of a network, or `None`.
pub fn loss(name: &str, options: &Options) -> Result<Option<Loss>, String> {
    let cross_entropy = || {
        let mut loss =
            Loss::cross_entropy().label_smoothing(options.number("label_smoothing", 0.0)?);
        loss = loss.ignored_label(options.integer("ignore_index", -100)?);
        for name in ["weight", "class_weights"] {
            if let Some(weights) = options.list(name, Value::as_f64)? {
                loss = loss.class_weights(weights.iter().map(|&w| w as f32).collect::<Vec<_>>());
            }
        }
        Ok::<Loss, String>(loss.into())
    };
    let nll = || {
        let ignored = options.integer("ignore_index", -100)?;
        Ok::<Loss, String>(Loss::nll().ignored_label(ignored).into())
    };
    let loss = match name {
        "cross_entropy" | "cross_entropy_soft" => cross_entropy()?,
        "nll" => nll()?,
        "mse" | "mse_loss" => Loss::mean_squared_error(),
        "l1" => Loss::l1(),
        "smooth_l1" => Loss::smooth_l1(options.number("beta", 1.0)?),
        "huber" => Loss::huber(options.number("delta", 1.0)?),
        "bce_with_logits" | "binary_cross_entropy_with_logits" => {
            Loss::binary_cross_entropy().into()
        }
        "kl_div" => match options.flag("log_target", false)? {
            false => Loss::kl_divergence(),
            true => return Err("log_target is true".into()),
        },
        "dice" => dice(options)?,
        _ => return Ok(None),
    };
    match options.text("reduction", "mean")? {
        "mean" => Ok(Some(loss.reduction(Reduction::Mean))),
        "sum" => Ok(Some(loss.reduction(Reduction::Sum))),
        "batchmean" => Ok(Some(loss.reduction(Reduction::BatchMean))),
        other => Err(format!("unknown reduction {other:?}")),
    }
}

fn dice(options: &Options) -> Result<Loss, String> {
    let mut loss = Loss::dice()
        .smoothing(options.number("smoothing", 1.0)?)
        .over_batch(options.flag("over_batch", false)?);
    if let Some(label) = options.get("ignore_index") {
        loss = loss.ignored_label(label.as_i64().ok_or("ignore_index is not a whole number")?);
    }
    match options.text("of", "softmax")? {
        "softmax" => Ok(loss.into()),
        "sigmoid" => Ok(loss.sigmoid().into()),
        other => Err(format!("unknown dice of {other:?}")),
    }
}

/// An optimizer by its name as an operator or by its class, or `None`.
pub fn optimizer(name: &str, options: &Options) -> Result<Option<Optimizer>, String> {
    let number = |name: &str, default: f64| options.number(name, default);
    let betas = || match options.list("betas", Value::as_f64)?.as_deref() {
        None => Ok([0.9, 0.999]),
        Some(&[first, second]) => Ok([first, second]),
        Some(betas) => Err(format!("betas are {betas:?}")),
    };
    let optimizer = match name.to_lowercase().as_str() {
        "sgd" => Optimizer::sgd(number("lr", 1e-3)?)
            .momentum(number("momentum", 0.0)?)
            .dampening(number("dampening", 0.0)?)
            .nesterov(options.flag("nesterov", false)?)
            .weight_decay(number("weight_decay", 0.0)?)
            .into(),
        name @ ("adam" | "adamw") => {
            let rate = number("lr", 1e-3)?;
            let adam = if name == "adam" {
                Optimizer::adam(rate)
            } else {
                Optimizer::adamw(rate)
            };
            adam.betas(betas()?)
                .epsilon(number("eps", 1e-8)?)
                .weight_decay(number("weight_decay", adam.weight_decay)?)
                .amsgrad(options.flag("amsgrad", false)?)
                .into()
        }
        "rmsprop" => Optimizer::rmsprop(number("lr", 1e-2)?)
            .alpha(number("alpha", 0.99)?)
            .epsilon(number("eps", 1e-8)?)
            .momentum(number("momentum", 0.0)?)
            .centered(options.flag("centered", false)?)
            .weight_decay(number("weight_decay", 0.0)?)
            .into(),
        "adagrad" => Optimizer::adagrad(number("lr", 1e-2)?)
            .learning_rate_decay(number("lr_decay", 0.0)?)
            .weight_decay(number("weight_decay", 0.0)?)
            .initial_accumulator(number("initial_accumulator_value", 0.0)?)
            .epsilon(number("eps", 1e-10)?)
            .into(),
        "adadelta" => Optimizer::adadelta(number("lr", 1.0)?)
            .rho(number("rho", 0.9)?)
            .epsilon(number("eps", 1e-6)?)
            .weight_decay(number("weight_decay", 0.0)?)
            .into(),
        "nadam" => Optimizer::nadam(number("lr", 2e-3)?)
            .betas(betas()?)
            .epsilon(number("eps", 1e-8)?)
            .weight_decay(number("weight_decay", 0.0)?)
            .momentum_decay(number("momentum_decay", 4e-3)?)
            .decoupled(options.flag("decoupled_weight_decay", false)?)
            .into(),
        _ => return Ok(None),
    };
    Ok(Some(optimizer))
}

/// Whether a layer's results depend on the driver's exp, log or tanh.
pub fn is_transcendental(op: &Op) -> bool {
    match op {
        Op::Activation(function) => !matches!(
            function,
            Activation::Relu
                | Activation::LeakyRelu { .. }
                | Activation::Relu6
                | Activation::HardTanh { .. }
                | Activation::HardSigmoid
                | Activation::HardSwish
                | Activation::Softsign
        ),
        Op::Softmax(_) | Op::GlobalPool(GlobalPool::Softmax) => true,
        // The power is made of square roots where four times the exponent is a small whole number.
        Op::LocalResponseNorm(norm) => (4.0 * norm.beta).fract() != 0.0 || norm.beta > 2.0,
        _ => false,
    }
}

/// The same of a loss.
pub fn is_transcendental_loss(loss: &Loss) -> bool {
    !matches!(
        loss,
        Loss::MeanSquaredError(_)
            | Loss::NegativeLogLikelihood(_)
            | Loss::L1(_)
            | Loss::SmoothL1 { .. }
            | Loss::Huber { .. }
    )
}
