//! Single operators on the CPU reference.

use wgpu_cnn::op::Pool2dGeometry;
use wgpu_cnn::{BatchNorm, GlobalPool, Loss, Model, Op, Optimizer, Reference, cpu};

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
            let y = filled(g.output_len(), |y| cpu::conv2d_forward(&g, x, w, b, y))?;
            out.floats("y", y);
            if let Some(gy) = gy {
                let gx = filled(x.len(), |gx| cpu::conv2d_backward_input(&g, gy, w, gx))?;
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
        Op::Softmax(softmax) => {
            let (g, log) = (softmax.geometry(1, &case.shape("x")?)?, softmax.log);
            let y = filled(x.len(), |y| cpu::softmax_forward(&g, log, x, y))?;
            if let Some(gy) = gy {
                let gx = filled(x.len(), |gx| cpu::softmax_backward(&g, log, &y, gy, gx))?;
                out.floats("gx", gx);
            }
            out.floats("y", y);
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
        let mut state = vec![vec![0.0; parameter.len()]; optimizer.state_slots()];
        for (k, gradient) in gradients.into_iter().enumerate() {
            let step = k as u64 + 1;
            cpu::optimizer_update(optimizer, step, &mut parameter, gradient, &mut state)?;
            out.floats(format!("s{k}_p{j}"), parameter.clone());
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
