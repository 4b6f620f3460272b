//! Single operators on the CPU reference.

use wgpu_cnn::op::{BroadcastGeometry, Pad2dGeometry, Pool2dGeometry};
use wgpu_cnn::{Average, BatchNorm, GlobalPool, Loss, Model, Mul, Op, Optimizer, Reference, cpu};

use crate::Result;
use crate::format::{Case, Outputs};
use crate::work::Trajectory;

pub fn layer(op: &Op, training: bool, case: &Case) -> Result<Outputs> {
    let (x, gy) = (case.floats("x")?, case.optional("gy")?);
    let mut out = Outputs::default();
    match op {
        Op::Conv2d(conv) => {
            let (batch, image) = case.images()?;
            let g = conv.geometry(batch, &image)?;
            let (w, b) = (case.floats("w")?, case.optional("b")?);
            let padded = conv.padded(batch, &image)?;
            let around =
                |g: &Pad2dGeometry| filled(g.output_len(), |y| cpu::pad2d_forward(g, x, y));
            let around = padded.as_ref().map(around).transpose()?;
            let x = around.as_deref().unwrap_or(x);
            let y = filled(g.output_len(), |y| cpu::conv2d_forward(&g, x, w, b, y))?;
            out.floats("y", y);
            if let Some(gy) = gy {
                let mut gx = filled(x.len(), |gx| cpu::conv2d_backward_input(&g, gy, w, gx))?;
                if let Some(g) = padded {
                    gx = filled(g.input_len(), |inner| cpu::pad2d_backward(&g, &gx, inner))?;
                }
                let gw = filled(w.len(), |gw| cpu::conv2d_backward_weight(&g, x, gy, gw))?;
                let gb = filled(g.out_channels, |gb| cpu::conv2d_backward_bias(&g, gy, gb))?;
                out.floats("gx", gx);
                out.floats("gw", gw);
                out.floats("gb", gb);
            }
        }
        Op::ConvTranspose2d(conv) => {
            let (batch, image) = case.images()?;
            let g = conv.geometry(batch, &image)?;
            let (w, b) = (case.floats("w")?, case.optional("b")?);
            let y = filled(g.input_len(), |y| {
                cpu::conv_transpose2d_forward(&g, x, w, b, y)
            })?;
            out.floats("y", y);
            if let Some(gy) = gy {
                use cpu::conv_transpose2d_backward_bias as backward_bias;
                use cpu::conv_transpose2d_backward_input as backward_input;
                use cpu::conv_transpose2d_backward_weight as backward_weight;
                out.floats("gx", filled(x.len(), |gx| backward_input(&g, gy, w, gx))?);
                out.floats("gw", filled(w.len(), |gw| backward_weight(&g, x, gy, gw))?);
                out.floats("gb", filled(g.in_channels, |gb| backward_bias(&g, gy, gb))?);
            }
        }
        Op::MaxPool2d(pool) => {
            let (batch, image) = case.images()?;
            max_pool(&pool.geometry(batch, &image)?, x, gy, &mut out)?;
        }
        Op::AvgPool2d(pool) => {
            let (batch, image) = case.images()?;
            avg_pool(
                &pool.geometry(batch, &image)?,
                pool.count_include_pad,
                x,
                gy,
                &mut out,
            )?;
        }
        Op::GlobalPool(pool) => {
            let (batch, image) = case.images()?;
            let g = pool.geometry(batch, &image)?;
            match pool {
                GlobalPool::Max => max_pool(&g, x, gy, &mut out)?,
                GlobalPool::Average => avg_pool(&g, true, x, gy, &mut out)?,
                GlobalPool::Softmax => {
                    out.floats(
                        "y",
                        filled(g.planes, |y| cpu::softmax_pool_forward(&g, x, y))?,
                    );
                    if let Some(gy) = gy {
                        let gx = filled(x.len(), |gx| cpu::softmax_pool_backward(&g, x, gy, gx))?;
                        out.floats("gx", gx);
                    }
                }
            }
        }
        Op::Upsample2d(layer) => {
            let (batch, image) = case.images()?;
            let g = layer.geometry(batch, &image)?;
            let y = filled(g.output_len(), |y| cpu::upsample2d_forward(&g, x, y))?;
            out.floats("y", y);
            if let Some(gy) = gy {
                let gx = filled(x.len(), |gx| cpu::upsample2d_backward(&g, gy, gx))?;
                out.floats("gx", gx);
            }
        }
        Op::PixelShuffle(layer) => {
            let (batch, image) = case.images()?;
            let g = layer.geometry(batch, &image)?;
            out.floats("y", filled(x.len(), |y| cpu::pixel_shuffle(&g, x, y))?);
            if let Some(gy) = gy {
                out.floats(
                    "gx",
                    filled(x.len(), |gx| cpu::pixel_unshuffle(&g, gy, gx))?,
                );
            }
        }
        Op::PixelUnshuffle(layer) => {
            let (batch, image) = case.images()?;
            let g = layer.geometry(batch, &image)?;
            out.floats("y", filled(x.len(), |y| cpu::pixel_unshuffle(&g, x, y))?);
            if let Some(gy) = gy {
                out.floats("gx", filled(x.len(), |gx| cpu::pixel_shuffle(&g, gy, gx))?);
            }
        }
        Op::AdaptiveAvgPool2d(pool) => {
            let (batch, image) = case.images()?;
            let g = pool.geometry(batch, &image)?;
            let y = filled(g.output_len(), |y| {
                cpu::adaptive_avg_pool2d_forward(&g, x, y)
            })?;
            out.floats("y", y);
            if let Some(gy) = gy {
                let gx = filled(x.len(), |gx| cpu::adaptive_avg_pool2d_backward(&g, gy, gx))?;
                out.floats("gx", gx);
            }
        }
        Op::AdaptiveMaxPool2d(pool) => {
            let (batch, image) = case.images()?;
            let g = pool.geometry(batch, &image)?;
            let mut indices = vec![0; g.output_len()];
            let y = filled(g.output_len(), |y| {
                cpu::adaptive_max_pool2d_forward(&g, x, y, &mut indices)
            })?;
            out.floats("y", y);
            if let Some(gy) = gy {
                let gx = filled(x.len(), |gx| {
                    cpu::adaptive_max_pool2d_backward(&g, gy, &indices, gx)
                })?;
                out.floats("gx", gx);
            }
            out.integers("indices", indices);
        }
        Op::Linear(linear) => {
            let (batch, example) = case.examples()?;
            let g = linear.geometry(batch, &example)?;
            let (w, b) = (case.floats("w")?, case.optional("b")?);
            let len = g.rows * g.out_features;
            out.floats("y", filled(len, |y| cpu::linear_forward(&g, x, w, b, y))?);
            if let Some(gy) = gy {
                let gx = filled(x.len(), |gx| cpu::linear_backward_input(&g, gy, w, gx))?;
                let gw = filled(w.len(), |gw| cpu::linear_backward_weight(&g, x, gy, gw))?;
                let gb = filled(g.out_features, |gb| cpu::linear_backward_bias(&g, gy, gb))?;
                out.floats("gx", gx);
                out.floats("gw", gw);
                out.floats("gb", gb);
            }
        }
        &Op::Activation(function) => {
            let y = filled(x.len(), |y| cpu::activation_forward(function, x, y))?;
            if let Some(gy) = gy {
                let gx = filled(x.len(), |gx| {
                    cpu::activation_backward(function, x, &y, gy, gx)
                })?;
                out.floats("gx", gx);
            }
            out.floats("y", y);
        }
        Op::Prelu(prelu) => {
            let (batch, example) = case.examples()?;
            let (g, w) = (prelu.geometry(batch, &example)?, case.floats("w")?);
            out.floats("y", filled(x.len(), |y| cpu::prelu_forward(&g, x, w, y))?);
            if let Some(gy) = gy {
                let gx = filled(x.len(), |gx| cpu::prelu_backward_input(&g, x, w, gy, gx))?;
                let gw = filled(w.len(), |gw| cpu::prelu_backward_weight(&g, x, gy, gw))?;
                out.floats("gx", gx);
                out.floats("gw", gw);
            }
        }
        Op::Pad2d(pad) => {
            let (batch, example) = case.examples()?;
            let g = pad.geometry(batch, &example)?;
            out.floats(
                "y",
                filled(g.output_len(), |y| cpu::pad2d_forward(&g, x, y))?,
            );
            if let Some(gy) = gy {
                out.floats("gx", filled(x.len(), |gx| cpu::pad2d_backward(&g, gy, gx))?);
            }
        }
        Op::Softmax(softmax) => {
            let (g, log) = (softmax.geometry(1, &case.shape("x")?)?, softmax.log);
            let y = filled(x.len(), |y| cpu::softmax_forward(&g, log, x, y))?;
            if let Some(gy) = gy {
                let gx = filled(x.len(), |gx| cpu::softmax_backward(&g, log, &y, gy, gx))?;
                out.floats("gx", gx);
            }
            out.floats("y", y);
        }
        Op::Slice(slice) => {
            let (batch, example) = case.examples()?;
            let (g, range) = (slice.geometry(batch, &example)?, slice.from..slice.to);
            let len = g.len_of(range.len());
            let forward = |y: &mut [f32]| cpu::slice_forward(&g, range.clone(), x, y);
            out.floats("y", filled(len, forward)?);
            if let Some(gy) = gy {
                let backward = |gx: &mut [f32]| cpu::slice_backward(&g, range.clone(), gy, gx);
                out.floats("gx", filled(x.len(), backward)?);
            }
        }
        Op::ChannelShuffle(layer) => {
            let (batch, example) = case.examples()?;
            let (g, groups) = (layer.geometry(batch, &example)?, layer.groups);
            let forward = |y: &mut [f32]| cpu::channel_shuffle_forward(&g, groups, x, y);
            out.floats("y", filled(x.len(), forward)?);
            if let Some(gy) = gy {
                let backward = |gx: &mut [f32]| cpu::channel_shuffle_backward(&g, groups, gy, gx);
                out.floats("gx", filled(x.len(), backward)?);
            }
        }
        Op::ChannelPermute(layer) => {
            let (batch, example) = case.examples()?;
            let (g, index) = (layer.geometry(batch, &example)?, &layer.index[..]);
            let forward = |y: &mut [f32]| cpu::channel_permute_forward(&g, index, x, y);
            out.floats("y", filled(g.len_of(index.len()), forward)?);
            if let Some(gy) = gy {
                let backward = |gx: &mut [f32]| cpu::channel_permute_backward(&g, index, gy, gx);
                out.floats("gx", filled(x.len(), backward)?);
            }
        }
        Op::Add(_) | Op::Mul(_) => pair(op, case, &mut out)?,
        Op::Scale(scale) => {
            let (batch, example) = case.examples()?;
            let g = &scale.geometry(batch, &example)?;
            let (w, b) = (case.floats("w")?, case.optional("b")?);
            out.floats("y", filled(x.len(), |y| cpu::scale_forward(g, x, w, b, y))?);
            if let Some(gy) = gy {
                let gx = filled(x.len(), |gx| cpu::scale_backward_input(g, w, gy, gx))?;
                let gw = filled(w.len(), |gw| cpu::scale_backward_weight(g, x, gy, gw))?;
                let gb = filled(w.len(), |gb| cpu::scale_backward_bias(g, gy, gb))?;
                out.floats("gx", gx);
                out.floats("gw", gw);
                out.floats("gb", gb);
            }
        }
        Op::BatchNorm(norm) => batch_norm(norm, training, case, &mut out)?,
        Op::LayerNormChannels(norm) => {
            let (batch, example) = case.examples()?;
            let (g, epsilon) = (norm.extents(batch, &example)?, norm.epsilon);
            let [gamma, beta] = &case.factors(g[1])?;
            let y = filled(x.len(), |y| {
                cpu::layer_norm_channels_forward(g, epsilon, x, gamma, beta, y)
            })?;
            out.floats("y", y);
            if let Some(gy) = gy {
                let gx = filled(x.len(), |gx| {
                    cpu::layer_norm_channels_backward_input(g, epsilon, x, gamma, gy, gx)
                })?;
                let mut gbeta = vec![f32::NAN; g[1]];
                let ggamma = filled(g[1], |gg| {
                    cpu::layer_norm_channels_backward_parameters(g, epsilon, x, gy, gg, &mut gbeta)
                })?;
                out.factors(gx, norm.affine.then_some([ggamma, gbeta]));
            }
        }
        Op::GroupNorm(norm) => {
            let (batch, example) = case.examples()?;
            let (g, epsilon) = (&norm.geometry(batch, &example)?, norm.epsilon);
            let [gamma, beta] = &case.factors(g.channels)?;
            let y = filled(x.len(), |y| {
                cpu::group_norm_forward(g, epsilon, x, gamma, beta, y)
            })?;
            out.floats("y", y);
            if let Some(gy) = gy {
                let gx = filled(x.len(), |gx| {
                    cpu::group_norm_backward_input(g, epsilon, x, gamma, gy, gx)
                })?;
                let mut gbeta = vec![f32::NAN; g.channels];
                let ggamma = filled(g.channels, |gg| {
                    cpu::group_norm_backward_parameters(g, epsilon, x, gy, gg, &mut gbeta)
                })?;
                out.factors(gx, norm.affine.then_some([ggamma, gbeta]));
            }
        }
        Op::LocalResponseNorm(norm) => {
            let (batch, example) = case.examples()?;
            let g = norm.extents(batch, &example)?;
            let y = filled(x.len(), |y| cpu::local_response_norm_forward(g, norm, x, y))?;
            out.floats("y", y);
            if let Some(gy) = gy {
                let gx = filled(x.len(), |gx| {
                    cpu::local_response_norm_backward(g, norm, x, gy, gx)
                })?;
                out.floats("gx", gx);
            }
        }
        Op::LayerNorm(norm) => {
            let ([rows, len], epsilon) = (case.normalised_rows()?, norm.epsilon);
            let gamma = &case.floats_or("gamma", len, 1.0)?[..];
            let beta = &case.floats_or("beta", len, 0.0)?[..];
            let y = filled(x.len(), |y| {
                cpu::layer_norm_forward(rows, epsilon, x, gamma, beta, y)
            })?;
            out.floats("y", y);
            if let Some(gy) = gy {
                let gx = filled(x.len(), |gx| {
                    cpu::layer_norm_backward_input(rows, epsilon, x, gamma, gy, gx)
                })?;
                let mut gbeta = vec![f32::NAN; len];
                let ggamma = filled(len, |ggamma| {
                    cpu::layer_norm_backward_parameters(rows, epsilon, x, gy, ggamma, &mut gbeta)
                })?;
                out.floats("gx", gx);
                out.floats("ggamma", ggamma);
                out.floats("gbeta", gbeta);
            }
        }
        _ => return Err(format!("{:?} is no case of its own", op.name()).into()),
    }
    Ok(out)
}

fn max_pool(g: &Pool2dGeometry, x: &[f32], gy: Option<&[f32]>, out: &mut Outputs) -> Result<()> {
    let mut indices = vec![0; g.output_len()];
    let y = filled(g.output_len(), |y| {
        cpu::max_pool2d_forward(g, x, y, &mut indices)
    })?;
    out.floats("y", y);
    if let Some(gy) = gy {
        let gx = filled(x.len(), |gx| cpu::max_pool2d_backward(g, gy, &indices, gx))?;
        out.floats("gx", gx);
    }
    out.integers("indices", indices);
    Ok(())
}

fn avg_pool(
    g: &Pool2dGeometry,
    count_include_pad: bool,
    x: &[f32],
    gy: Option<&[f32]>,
    out: &mut Outputs,
) -> Result<()> {
    let len = g.output_len();
    out.floats(
        "y",
        filled(len, |y| cpu::avg_pool2d_forward(g, count_include_pad, x, y))?,
    );
    if let Some(gy) = gy {
        let gx = filled(x.len(), |gx| {
            cpu::avg_pool2d_backward(g, count_include_pad, gy, gx)
        })?;
        out.floats("gx", gx);
    }
    Ok(())
}

fn pair(op: &Op, case: &Case, out: &mut Outputs) -> Result<()> {
    let (batch, [left, right]) = case.pairs_of_examples()?;
    let [a, b] = [case.floats("x")?, case.floats("x2")?];
    let (is_sum, g) = match op {
        Op::Add(add) => (true, add.geometry(batch, &left, &right)?),
        _ => (false, Mul.geometry(batch, &left, &right)?),
    };
    let forward = match is_sum {
        true => cpu::add_forward,
        false => cpu::mul_forward,
    };
    out.floats("y", filled(g.output_len(), |y| forward(&g, a, b, y))?);
    let Some(gy) = case.optional("gy")? else {
        return Ok(());
    };
    let swapped = BroadcastGeometry {
        left: g.right,
        right: g.left,
        ..g
    };
    for (name, g, other, len) in [("gx", g, b, a.len()), ("gx2", swapped, a, b.len())] {
        let gradient = filled(len, |gradient| match is_sum {
            true => cpu::add_backward(&g, g.left, gy, gradient),
            false => cpu::mul_backward(&g, other, gy, gradient),
        })?;
        out.floats(name, gradient);
    }
    Ok(())
}

fn batch_norm(norm: &BatchNorm, training: bool, case: &Case, out: &mut Outputs) -> Result<()> {
    let (x, (batch, example)) = (case.floats("x")?, case.examples()?);
    let (g, epsilon) = (&norm.geometry(batch, &example)?, norm.epsilon);
    let c = g.channels;
    let [gamma, beta, mut running_mean, mut running_variance] = case.batch_norm_parameters(c)?;
    let (mut mean, mut variance) = (running_mean.clone(), running_variance.clone());
    if training {
        cpu::batch_norm_moments(g, x, &mut mean, &mut variance)?;
        let running = (&mut running_mean, &mut running_variance);
        let batches = f64::from(case.batches()?);
        let momentum = norm.momentum.unwrap_or(1.0 / (batches + 1.0));
        cpu::batch_norm_update_running(g, momentum, &mean, &variance, running.0, running.1)?;
    }
    let (mean, variance, gamma) = (&mean[..], &variance[..], &gamma[..]);
    let y = filled(x.len(), |y| {
        cpu::batch_norm_forward(g, epsilon, x, mean, variance, gamma, &beta, y)
    })?;
    out.floats("y", y);
    if let Some(gy) = case.optional("gy")? {
        let mut gbeta = vec![f32::NAN; c];
        let ggamma = filled(c, |ggamma| {
            let gradients = (ggamma, &mut gbeta);
            cpu::batch_norm_backward_parameters(
                g,
                epsilon,
                x,
                mean,
                variance,
                gy,
                gradients.0,
                gradients.1,
            )
        })?;
        let gx = filled(x.len(), |gx| match training {
            true => cpu::batch_norm_backward_input(
                g, epsilon, x, mean, variance, gamma, &ggamma, &gbeta, gy, gx,
            ),
            false => cpu::batch_norm_backward_input_eval(g, epsilon, variance, gamma, gy, gx),
        })?;
        out.factors(gx, norm.affine.then_some([ggamma, gbeta]));
    }
    out.floats("running_mean_after", running_mean);
    out.floats("running_var_after", running_variance);
    Ok(())
}

pub fn loss(loss: &Loss, case: &Case) -> Result<Outputs> {
    let (_, example) = case.examples()?;
    let model = Model::builder(if example.rank() == 0 {
        [1].into()
    } else {
        example
    })
    .build()?;
    let mut reference = Reference::<f32>::new(&model, loss.clone(), Optimizer::sgd(0.0), 0)?;
    let (loss, gx) = reference.loss_and_input_gradient(case.floats("x")?, &case.loss_target()?)?;
    let mut out = Outputs::default();
    out.floats("loss", vec![loss]);
    out.floats("gx", gx);
    Ok(out)
}

pub fn optimizer(optimizer: &Optimizer, case: &Case) -> Result<Outputs> {
    let mut out = Outputs::default();
    for (
        j,
        Trajectory {
            parameter,
            gradients,
        },
    ) in case.trajectories()?.into_iter().enumerate()
    {
        let mut parameter = parameter.to_vec();
        let slots = (0..optimizer.state_slots()).map(|slot| optimizer.initial_state(slot) as f32);
        let mut state: Vec<_> = slots.map(|value| vec![value; parameter.len()]).collect();
        for (k, gradient) in gradients.into_iter().enumerate() {
            let step = k as u64 + 1;
            cpu::optimizer_update(optimizer, step, &mut parameter, gradient, &mut state)?;
            out.floats(format!("s{k}_p{j}"), parameter.clone());
        }
    }
    Ok(out)
}

pub fn average(average: &Average, case: &Case) -> Result<Outputs> {
    let mut out = Outputs::default();
    for (j, values) in case.updates()?.into_iter().enumerate() {
        let mut averaged = vec![f32::NAN; values[0].len()];
        for (k, values) in values.into_iter().enumerate() {
            cpu::average_update(average, k as u64 + 1, values, &mut averaged)?;
            out.floats(format!("a{k}_p{j}"), averaged.clone());
        }
    }
    Ok(out)
}

/// What `write` writes to a slice of `len` elements.
fn filled(
    len: usize,
    write: impl FnOnce(&mut [f32]) -> wgpu_cnn::Result<()>,
) -> wgpu_cnn::Result<Vec<f32>> {
    let mut values = vec![f32::NAN; len];
    write(&mut values)?;
    Ok(values)
}
