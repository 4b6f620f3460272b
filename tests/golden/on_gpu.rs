//! Single operators on a GPU.

use wgpu_cnn::{
    Average, AvgPool2d, BatchNorm, ChannelShuffle, GlobalPool, Gpu, Loss, MaxPool2d, Op, Optimizer,
    Shape, Size2, Tensor, ops,
};

use crate::Result;
use crate::format::{Case, Outputs};
use crate::work::Trajectory;

pub fn layer(gpu: &Gpu, op: &Op, training: bool, case: &Case) -> Result<Outputs> {
    let inputs = Inputs { gpu, case };
    let mut out = Outputs::default();
    match op {
        Op::Conv2d(conv) => {
            let (batch, image) = case.images()?;
            let g = conv.geometry(batch, &image)?;
            let x = inputs.images()?;
            let w = inputs.tensor("w", g.weight_shape())?;
            let b = inputs.optional("b", [g.out_channels])?;
            let y = ops::conv2d_forward(&x, &w, b.as_ref(), conv)?;
            put(&mut out, "y", &y)?;
            if let Some(gy) = inputs.optional("gy", y.shape())? {
                put(
                    &mut out,
                    "gx",
                    &ops::conv2d_backward_input(&gy, &w, x.shape(), conv)?,
                )?;
                put(&mut out, "gw", &ops::conv2d_backward_weight(&x, &gy, conv)?)?;
                put(&mut out, "gb", &ops::bias_gradient(&gy)?)?;
            }
        }
        Op::ConvTranspose2d(conv) => {
            let (batch, image) = case.images()?;
            let g = conv.geometry(batch, &image)?;
            let x = inputs.images()?;
            let w = inputs.tensor("w", g.weight_shape())?;
            let b = inputs.optional("b", [conv.out_channels])?;
            let y = ops::conv_transpose2d_forward(&x, &w, b.as_ref(), conv)?;
            put(&mut out, "y", &y)?;
            if let Some(gy) = inputs.optional("gy", y.shape())? {
                let gx = ops::conv_transpose2d_backward_input(&gy, &w, x.shape(), conv)?;
                put(&mut out, "gx", &gx)?;
                put(
                    &mut out,
                    "gw",
                    &ops::conv_transpose2d_backward_weight(&x, &gy, conv)?,
                )?;
                put(&mut out, "gb", &ops::bias_gradient(&gy)?)?;
            }
        }
        Op::MaxPool2d(pool) => max_pool(&inputs, pool, &mut out)?,
        Op::AvgPool2d(pool) => avg_pool(&inputs, pool, &mut out)?,
        Op::GlobalPool(pool) => global_pool(&inputs, *pool, &mut out)?,
        Op::Upsample2d(layer) => {
            let x = inputs.images()?;
            let y = ops::upsample2d_forward(&x, layer)?;
            put(&mut out, "y", &y)?;
            if let Some(gy) = inputs.optional("gy", y.shape())? {
                let gx = ops::upsample2d_backward(&gy, x.shape(), layer)?;
                put(&mut out, "gx", &gx)?;
            }
        }
        Op::PixelShuffle(layer) => {
            let y = ops::pixel_shuffle(&inputs.images()?, layer.factor)?;
            put(&mut out, "y", &y)?;
            if let Some(gy) = inputs.optional("gy", y.shape())? {
                put(&mut out, "gx", &ops::pixel_unshuffle(&gy, layer.factor)?)?;
            }
        }
        Op::PixelUnshuffle(layer) => {
            let y = ops::pixel_unshuffle(&inputs.images()?, layer.factor)?;
            put(&mut out, "y", &y)?;
            if let Some(gy) = inputs.optional("gy", y.shape())? {
                put(&mut out, "gx", &ops::pixel_shuffle(&gy, layer.factor)?)?;
            }
        }
        Op::AdaptiveAvgPool2d(pool) => {
            let x = inputs.images()?;
            let y = ops::adaptive_avg_pool2d_forward(&x, pool)?;
            put(&mut out, "y", &y)?;
            if let Some(gy) = inputs.optional("gy", y.shape())? {
                let gx = ops::adaptive_avg_pool2d_backward(&gy, x.shape(), pool)?;
                put(&mut out, "gx", &gx)?;
            }
        }
        Op::AdaptiveMaxPool2d(pool) => {
            let x = inputs.images()?;
            let (y, indices) = ops::adaptive_max_pool2d_forward(&x, pool)?;
            put(&mut out, "y", &y)?;
            out.integers("indices", indices.to_vec()?);
            if let Some(gy) = inputs.optional("gy", y.shape())? {
                let gx = ops::adaptive_max_pool2d_backward(&gy, &indices, x.shape(), pool)?;
                put(&mut out, "gx", &gx)?;
            }
        }
        Op::Linear(linear) => {
            let (batch, example) = case.examples()?;
            let g = linear.geometry(batch, &example)?;
            let x = inputs.tensor("x", [g.rows, g.in_features])?;
            let w = inputs.tensor("w", [g.out_features, g.in_features])?;
            let b = inputs.optional("b", [g.out_features])?;
            let y = ops::linear_forward(&x, &w, b.as_ref())?;
            put(&mut out, "y", &y)?;
            if let Some(gy) = inputs.optional("gy", y.shape())? {
                put(&mut out, "gx", &ops::matmul(&gy, false, &w, false)?)?;
                put(&mut out, "gw", &ops::matmul(&gy, true, &x, false)?)?;
                put(&mut out, "gb", &ops::bias_gradient(&gy)?)?;
            }
        }
        &Op::Activation(function) => {
            let x = inputs.tensor("x", case.shape("x")?)?;
            let y = ops::activation_forward(&x, function)?;
            put(&mut out, "y", &y)?;
            if let Some(gy) = inputs.optional("gy", y.shape())? {
                put(
                    &mut out,
                    "gx",
                    &ops::activation_backward(function, &x, &y, &gy)?,
                )?;
            }
        }
        Op::Prelu(_) => {
            let x = inputs.tensor("x", case.shape("x")?)?;
            let w = inputs.tensor("w", case.shape("w")?)?;
            put(&mut out, "y", &ops::prelu_forward(&x, &w)?)?;
            if let Some(gy) = inputs.optional("gy", x.shape())? {
                let [gx, gw] = ops::prelu_backward(&x, &w, &gy)?;
                put(&mut out, "gx", &gx)?;
                put(&mut out, "gw", &gw)?;
            }
        }
        Op::Pad2d(pad) => {
            let x = inputs.tensor("x", case.shape("x")?)?;
            let y = ops::pad2d_forward(&x, pad)?;
            put(&mut out, "y", &y)?;
            if let Some(gy) = inputs.optional("gy", y.shape())? {
                put(&mut out, "gx", &ops::pad2d_backward(&gy, x.shape(), pad)?)?;
            }
        }
        Op::Softmax(softmax) => {
            let x = inputs.tensor("x", case.shape("x")?.batched(1))?;
            let y = ops::softmax_forward(&x, softmax)?;
            put(&mut out, "y", &y)?;
            if let Some(gy) = inputs.optional("gy", y.shape())? {
                put(&mut out, "gx", &ops::softmax_backward(&y, &gy, softmax)?)?;
            }
        }
        Op::Slice(_) | Op::ChannelShuffle(_) | Op::ChannelPermute(_) => {
            select(&inputs, op, &mut out)?;
        }
        Op::Add(_) | Op::Mul(_) => pair(&inputs, op, &mut out)?,
        Op::Scale(_) => {
            let (_, example) = case.examples()?;
            let channels = example.first().copied().unwrap_or(0);
            let x = inputs.tensor("x", case.shape("x")?)?;
            let w = inputs.tensor("w", [channels])?;
            let b = inputs.optional("b", [channels])?;
            let y = ops::scale_forward(&x, &w, b.as_ref())?;
            put(&mut out, "y", &y)?;
            if let Some(gy) = inputs.optional("gy", y.shape())? {
                let [gx, gw, gb] = ops::scale_backward(&x, &w, &gy)?;
                put(&mut out, "gx", &gx)?;
                put(&mut out, "gw", &gw)?;
                put(&mut out, "gb", &gb)?;
            }
        }
        Op::BatchNorm(norm) => batch_norm(&inputs, norm, training, &mut out)?,
        Op::LayerNormChannels(norm) => {
            let x = inputs.tensor("x", case.shape("x")?)?;
            let [gamma, beta] = inputs.factors()?;
            let factors = norm.affine.then_some([&gamma, &beta]);
            let (y, kept) = ops::layer_norm_channels_forward(&x, factors, norm)?;
            put(&mut out, "y", &y)?;
            if let Some(gy) = inputs.optional("gy", y.shape())? {
                let gamma = factors.map(|[gamma, _]| gamma);
                let gradients = ops::layer_norm_channels_backward(&x, gamma, &kept, &gy, norm)?;
                put_gradients(&mut out, &gradients, norm.affine)?;
            }
        }
        Op::GroupNorm(norm) => {
            let x = inputs.tensor("x", case.shape("x")?)?;
            let [gamma, beta] = inputs.factors()?;
            let factors = norm.affine.then_some([&gamma, &beta]);
            let (y, kept) = ops::group_norm_forward(&x, factors, norm)?;
            put(&mut out, "y", &y)?;
            if let Some(gy) = inputs.optional("gy", y.shape())? {
                let gamma = factors.map(|[gamma, _]| gamma);
                let gradients = ops::group_norm_backward(&x, gamma, &kept, &gy, norm)?;
                put_gradients(&mut out, &gradients, norm.affine)?;
            }
        }
        Op::LocalResponseNorm(norm) => {
            let x = inputs.tensor("x", case.shape("x")?)?;
            let (y, kept) = ops::local_response_norm_forward(&x, norm)?;
            put(&mut out, "y", &y)?;
            if let Some(gy) = inputs.optional("gy", y.shape())? {
                let gx = ops::local_response_norm_backward(&x, &kept, &gy, norm)?;
                put(&mut out, "gx", &gx)?;
            }
        }
        Op::LayerNorm(norm) => {
            let [rows, len] = case.normalised_rows()?;
            let x = inputs.tensor("x", [rows, len])?;
            let [gamma, beta] = [
                inputs.vector(&case.floats_or("gamma", len, 1.0)?)?,
                inputs.vector(&case.floats_or("beta", len, 0.0)?)?,
            ];
            let (y, kept) = ops::layer_norm_forward(&x, [&gamma, &beta], norm)?;
            put(&mut out, "y", &y)?;
            if let Some(gy) = inputs.optional("gy", y.shape())? {
                let [gx, ggamma, gbeta] = ops::layer_norm_backward(&x, &gamma, &kept, &gy)?;
                put(&mut out, "gx", &gx)?;
                put(&mut out, "ggamma", &ggamma)?;
                put(&mut out, "gbeta", &gbeta)?;
            }
        }
        _ => return Err(format!("{:?} is no case of its own", op.name()).into()),
    }
    Ok(out)
}

fn max_pool(inputs: &Inputs, pool: &MaxPool2d, out: &mut Outputs) -> Result<()> {
    let x = inputs.images()?;
    let (y, indices) = ops::max_pool2d_forward(&x, pool)?;
    put(out, "y", &y)?;
    out.integers("indices", indices.to_vec()?);
    if let Some(gy) = inputs.optional("gy", y.shape())? {
        put(
            out,
            "gx",
            &ops::max_pool2d_backward(&gy, &indices, x.shape(), pool)?,
        )?;
    }
    Ok(())
}

fn avg_pool(inputs: &Inputs, pool: &AvgPool2d, out: &mut Outputs) -> Result<()> {
    let x = inputs.images()?;
    let y = ops::avg_pool2d_forward(&x, pool)?;
    put(out, "y", &y)?;
    if let Some(gy) = inputs.optional("gy", y.shape())? {
        put(out, "gx", &ops::avg_pool2d_backward(&gy, x.shape(), pool)?)?;
    }
    Ok(())
}

fn global_pool(inputs: &Inputs, pool: GlobalPool, out: &mut Outputs) -> Result<()> {
    let (_, image) = inputs.case.images()?;
    let plane = Size2::from([image[1], image[2]]);
    match pool {
        GlobalPool::Max => max_pool(inputs, &MaxPool2d::new(plane), out),
        GlobalPool::Average => avg_pool(inputs, &AvgPool2d::new(plane), out),
        GlobalPool::Softmax => {
            let x = inputs.images()?;
            let (y, kept) = ops::softmax_pool_forward(&x)?;
            put(out, "y", &y)?;
            if let Some(gy) = inputs.optional("gy", y.shape())? {
                put(
                    out,
                    "gx",
                    &ops::softmax_pool_backward(&x, (&y, &kept), &gy)?,
                )?;
            }
            Ok(())
        }
    }
}

fn select(inputs: &Inputs, op: &Op, out: &mut Outputs) -> Result<()> {
    let x = inputs.tensor("x", inputs.case.shape("x")?)?;
    let y = match op {
        Op::Slice(layer) => ops::slice(&x, layer)?,
        Op::ChannelShuffle(layer) => ops::channel_shuffle(&x, layer)?,
        Op::ChannelPermute(layer) => ops::channel_permute(&x, layer)?,
        _ => return Err(format!("{:?} selects nothing", op.name()).into()),
    };
    put(out, "y", &y)?;
    if let Some(gy) = inputs.optional("gy", y.shape())? {
        let gx = match op {
            Op::Slice(layer) => ops::slice_backward(&gy, x.shape(), layer)?,
            Op::ChannelShuffle(layer) => {
                let back = ChannelShuffle::new(x.shape()[1] / layer.groups);
                ops::channel_shuffle(&gy, &back)?
            }
            Op::ChannelPermute(layer) => ops::channel_permute_backward(&gy, x.shape(), layer)?,
            _ => return Err(format!("{:?} selects nothing", op.name()).into()),
        };
        put(out, "gx", &gx)?;
    }
    Ok(())
}

fn pair(inputs: &Inputs, op: &Op, out: &mut Outputs) -> Result<()> {
    let [left, right] = [
        inputs.tensor("x", inputs.case.shape("x")?)?,
        inputs.tensor("x2", inputs.case.shape("x2")?)?,
    ];
    let is_sum = matches!(op, Op::Add(_));
    let y = match is_sum {
        true => ops::add(&left, &right)?,
        false => ops::mul(&left, &right)?,
    };
    put(out, "y", &y)?;
    if let Some(gy) = inputs.optional("gy", y.shape())? {
        let [gx, gx2] = match is_sum {
            true => [
                ops::add_backward(&gy, left.shape())?,
                ops::add_backward(&gy, right.shape())?,
            ],
            false => ops::mul_backward(&left, &right, &gy)?,
        };
        put(out, "gx", &gx)?;
        put(out, "gx2", &gx2)?;
    }
    Ok(())
}

fn batch_norm(inputs: &Inputs, norm: &BatchNorm, training: bool, out: &mut Outputs) -> Result<()> {
    let (_, example) = inputs.case.examples()?;
    let x = inputs.tensor("x", inputs.case.shape("x")?)?;
    let channels = example.first().copied().unwrap_or(0);
    let [gamma, beta, mean, variance] = inputs.case.batch_norm_parameters(channels)?;
    let [gamma, beta] = [inputs.vector(&gamma)?, inputs.vector(&beta)?];
    let factors = norm.affine.then_some([&gamma, &beta]);
    let gamma = factors.map(|[gamma, _]| gamma);
    let [mean, variance] = [inputs.vector(&mean)?, inputs.vector(&variance)?];
    let gy = inputs.optional("gy", x.shape())?;
    if !training {
        let running = [&mean, &variance];
        let y = ops::batch_norm_forward_evaluation(&x, factors, running, norm)?;
        put(out, "y", &y)?;
        put(out, "running_mean_after", &mean)?;
        put(out, "running_var_after", &variance)?;
        if let Some(gy) = gy {
            let gradients = ops::batch_norm_backward_evaluation(&x, gamma, running, &gy, norm)?;
            put_gradients(out, &gradients, norm.affine)?;
        }
        return Ok(());
    }
    let batches = Tensor::from_slice(inputs.gpu, [], &[inputs.case.batches()?])?;
    let running = [&mean, &variance, &batches];
    let count = if norm.momentum.is_some() { 2 } else { 3 };
    let (y, statistics) = ops::batch_norm_forward(&x, factors, &running[..count], norm)?;
    put(out, "y", &y)?;
    put(out, "running_mean_after", &statistics.running_mean)?;
    put(out, "running_var_after", &statistics.running_variance)?;
    if let Some(after) = statistics.num_batches_tracked {
        assert_eq!(after.to_vec()?, [inputs.case.batches()? + 1.0]);
    }
    if let Some(gy) = gy {
        let gradients = ops::batch_norm_backward(&x, gamma, &statistics.batch, &gy, norm)?;
        put_gradients(out, &gradients, norm.affine)?;
    }
    Ok(())
}

/// The gradients of the input, gamma and beta, the last two of a layer that has them.
fn put_gradients(out: &mut Outputs, [gx, ggamma, gbeta]: &[Tensor; 3], affine: bool) -> Result<()> {
    let factors = [ggamma.to_vec()?, gbeta.to_vec()?];
    out.factors(gx.to_vec()?, affine.then_some(factors));
    Ok(())
}

pub fn loss(gpu: &Gpu, loss: &Loss, case: &Case) -> Result<Outputs> {
    let x = Inputs { gpu, case }.tensor("x", case.shape("x")?)?;
    let (loss, gx) = ops::loss(&x, case.loss_target()?, loss.clone())?;
    let mut out = Outputs::default();
    put(&mut out, "loss", &loss)?;
    put(&mut out, "gx", &gx)?;
    Ok(out)
}

pub fn optimizer(gpu: &Gpu, optimizer: &Optimizer, case: &Case) -> Result<Outputs> {
    let inputs = Inputs { gpu, case };
    let mut out = Outputs::default();
    for (
        j,
        Trajectory {
            parameter,
            gradients,
        },
    ) in case.trajectories()?.into_iter().enumerate()
    {
        let zeros = inputs.vector(&vec![0.0; parameter.len()])?;
        let mut parameter = inputs.vector(parameter)?;
        let mut state = vec![zeros; optimizer.state_slots()];
        for (k, gradient) in gradients.into_iter().enumerate() {
            let (step, gradient) = (k as u64 + 1, inputs.vector(gradient)?);
            (parameter, state) =
                ops::optimizer_update(*optimizer, step, &parameter, &gradient, &state)?;
            put(&mut out, &format!("s{k}_p{j}"), &parameter)?;
        }
    }
    Ok(out)
}

pub fn average(gpu: &Gpu, average: &Average, case: &Case) -> Result<Outputs> {
    let inputs = Inputs { gpu, case };
    let mut out = Outputs::default();
    for (j, values) in case.updates()?.into_iter().enumerate() {
        let mut averaged = inputs.vector(&vec![f32::NAN; values[0].len()])?;
        for (k, values) in values.into_iter().enumerate() {
            let values = inputs.vector(values)?;
            averaged = ops::average_update(average, k as u64 + 1, &values, &averaged)?;
            put(&mut out, &format!("a{k}_p{j}"), &averaged)?;
        }
    }
    Ok(out)
}

/// A case's inputs as tensors.
struct Inputs<'a> {
    gpu: &'a Gpu,
    case: &'a Case,
}

impl Inputs<'_> {
    fn tensor(&self, name: &str, shape: impl Into<Shape>) -> Result<Tensor> {
        Ok(Tensor::from_slice(
            self.gpu,
            shape,
            self.case.floats(name)?,
        )?)
    }

    fn optional(&self, name: &str, shape: impl Into<Shape>) -> Result<Option<Tensor>> {
        self.case
            .inputs
            .contains_key(name)
            .then(|| self.tensor(name, shape))
            .transpose()
    }

    fn vector(&self, values: &[f32]) -> Result<Tensor> {
        Ok(Tensor::from_slice(self.gpu, [values.len()], values)?)
    }

    /// Gamma and beta of a normalisation.
    fn factors(&self) -> Result<[Tensor; 2]> {
        let (_, example) = self.case.examples()?;
        let factors = self.case.factors(example.first().copied().unwrap_or(0))?;
        Ok([self.vector(&factors[0])?, self.vector(&factors[1])?])
    }

    /// `x` as `(N, C, H, W)`.
    fn images(&self) -> Result<Tensor> {
        let (batch, image) = self.case.images()?;
        self.tensor("x", image.batched(batch))
    }
}

fn put(out: &mut Outputs, name: &str, tensor: &Tensor) -> Result<()> {
    out.floats(name, tensor.to_vec()?);
    Ok(())
}
