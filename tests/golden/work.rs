//! What a case asks for: a layer, a loss, an optimizer or a network, with all of its options known.

use wgpu_cnn::{Average, GroupNorm, LayerNormChannels, Loss, Op, Optimizer, Shape};

use crate::format::{Array, Case, Values};
use crate::groups::Groups;
use crate::layers;
use crate::network::Network;
use crate::options::{Options, extent};
use crate::schedule::Rates;

pub enum Work {
    Layer {
        op: Op,
        /// Whether a batch normalisation takes the batch's own statistics.
        training: bool,
    },
    Loss(Loss),
    Optimizer(Optimizer),
    Groups(Groups),
    Rates(Rates),
    Average(Average),
    Network(Network),
}

impl Work {
    /// An error where the operator, one of its options or one of its inputs is not known.
    pub fn of(case: &Case) -> Result<Self, String> {
        let (name, options) = (case.op.as_str(), Options::new(&case.options));
        let work = if ["layers", "graph"]
            .iter()
            .any(|&key| case.options.contains_key(key))
        {
            Self::Network(Network::read(&options)?)
        } else if name == "schedule" {
            Self::Rates(Rates::read(&options)?)
        } else if name == "ema" {
            options.redundant(&["updates"]);
            Self::Average(Average::ema(options.number("decay", f64::NAN)?))
        } else if let Some(loss) = layers::loss(name, &options)? {
            Self::Loss(with_weights(loss, case)?)
        } else if let Some(optimizer) = layers::optimizer(name, &options)? {
            match options.flag("no_decay_1d", false)? {
                true => Self::Groups(Groups::no_decay_1d(optimizer)),
                false => Self::Optimizer(optimizer),
            }
        } else if name == "param_groups" {
            Self::Groups(Groups::read(&options, ".weight")?)
        } else {
            let training = match name {
                "batch_norm1d" | "batch_norm2d" => {
                    let frozen = options.flag("frozen", false)?;
                    options.flag("training", !frozen)? && !frozen
                }
                _ => true,
            };
            let op = with_outputs(layers::layer(name, &options)?, case)?;
            Self::Layer { op, training }
        };
        options.finish()?;
        match case.inputs.keys().find(|name| !work.knows_input(name)) {
            Some(name) => Err(format!("unknown input {name:?}")),
            None => Ok(work),
        }
    }

    fn knows_input(&self, name: &str) -> bool {
        let numbered = |prefix: &str| {
            let digits = name.strip_prefix(prefix);
            digits.is_some_and(|d| {
                !d.is_empty()
                    && d.bytes()
                        .all(|b| b.is_ascii_digit() || b == b'_' || b == b'p')
            })
        };
        match self {
            Self::Layer { op, .. } => match op {
                Op::Conv2d(_) | Op::ConvTranspose2d(_) | Op::Linear(_) => {
                    ["x", "gy", "w", "b"].contains(&name)
                }
                Op::Prelu(_) => ["x", "gy", "w"].contains(&name),
                Op::Add(_) | Op::Mul(_) => ["x", "x2", "gy"].contains(&name),
                Op::Scale(_) => ["x", "gy", "w", "b"].contains(&name),
                Op::LayerNorm(_) => ["x", "gy", "gamma", "beta"].contains(&name),
                Op::LayerNormChannels(LayerNormChannels { affine, .. })
                | Op::GroupNorm(GroupNorm { affine, .. }) => {
                    ["x", "gy"].contains(&name) || *affine && ["gamma", "beta"].contains(&name)
                }
                Op::BatchNorm(norm) => {
                    ["x", "gy", "running_mean", "running_var"].contains(&name)
                        || norm.affine && ["gamma", "beta"].contains(&name)
                }
                _ => ["x", "gy"].contains(&name),
            },
            Self::Loss(_) => {
                let known = [
                    "x",
                    "labels",
                    "target",
                    "weight",
                    "class_weights",
                    "pos_weight",
                ];
                known.contains(&name)
            }
            Self::Optimizer(_) | Self::Groups(_) => numbered("p") || numbered("g"),
            Self::Rates(_) => false,
            Self::Average(_) => numbered("u"),
            Self::Network(network) => {
                let target = |prefix: &str| network.knows_target(prefix) && numbered(prefix);
                let targets = ["t", "u"].into_iter().any(target);
                name.starts_with("init.") || numbered("x") || targets
            }
        }
    }

    /// Whether the results depend on the driver's exp, log or tanh.
    pub fn is_transcendental(&self) -> bool {
        match self {
            Self::Layer { op, .. } => layers::is_transcendental(op),
            Self::Loss(loss) => layers::is_transcendental_loss(loss),
            Self::Optimizer(_) | Self::Groups(_) | Self::Rates(_) | Self::Average(_) => false,
            Self::Network(network) => network.is_transcendental(),
        }
    }
}

/// The loss with the weights that are tensors of the case.
fn with_weights(loss: Loss, case: &Case) -> Result<Loss, String> {
    let weights = ["weight", "class_weights"]
        .iter()
        .find_map(|&name| case.inputs.get(name));
    let positive = case.inputs.get("pos_weight");
    let shape = |input: &Array| Shape::from(&input.shape[..]);
    match (loss, weights, positive) {
        (loss, None, None) => Ok(loss),
        (Loss::CrossEntropy(loss), Some(weights), None) => {
            Ok(loss.class_weights(weights.floats()?).into())
        }
        (Loss::NegativeLogLikelihood(loss), Some(weights), None) => {
            Ok(loss.class_weights(weights.floats()?).into())
        }
        (Loss::BinaryCrossEntropy(mut loss), weights, positive) => {
            if let Some(weights) = weights {
                loss = loss.weights(shape(weights), weights.floats()?);
            }
            if let Some(weights) = positive {
                loss = loss.positive_weights(shape(weights), weights.floats()?);
            }
            Ok(loss.into())
        }
        (_, Some(_), _) => Err("unknown option \"weight\"".into()),
        (_, None, Some(_)) => Err("unknown option \"pos_weight\"".into()),
    }
}

/// The layer with as many outputs as its weights have.
fn with_outputs(mut op: Op, case: &Case) -> Result<Op, String> {
    let extent = |axis: usize| {
        let shape = &case.input("w")?.shape;
        shape
            .get(axis)
            .copied()
            .ok_or(format!("weights of the shape {shape:?}"))
    };
    match &mut op {
        Op::Conv2d(conv) => conv.out_channels = extent(0)?,
        Op::ConvTranspose2d(conv) => conv.out_channels = extent(1)? * conv.groups,
        Op::Linear(linear) => linear.out_features = extent(0)?,
        _ => {}
    }
    Ok(op)
}

/// A parameter of an optimizer case, and its gradients in the order of the updates.
pub struct Trajectory<'a> {
    pub parameter: &'a [f32],
    pub gradients: Vec<&'a [f32]>,
}

/// What a layer computes from, as slices. The gradients are wanted where the upstream one is there.
impl Case {
    pub fn floats(&self, name: &str) -> Result<&[f32], String> {
        self.input(name)?
            .floats()
            .map_err(|error| format!("{name}: {error}"))
    }

    pub fn optional(&self, name: &str) -> Result<Option<&[f32]>, String> {
        self.inputs
            .contains_key(name)
            .then(|| self.floats(name))
            .transpose()
    }

    /// An input, or `len` times its neutral value.
    pub fn floats_or(&self, name: &str, len: usize, neutral: f32) -> Result<Vec<f32>, String> {
        Ok(self
            .optional(name)?
            .map_or_else(|| vec![neutral; len], <[f32]>::to_vec))
    }

    pub fn shape(&self, name: &str) -> Result<Shape, String> {
        Ok(self.input(name)?.shape.as_slice().into())
    }

    /// The batch and the shape of one example of `x`.
    pub fn examples(&self) -> Result<(usize, Shape), String> {
        match &self.input("x")?.shape[..] {
            [batch, example @ ..] => Ok((*batch, example.into())),
            [] => Err("x has no axes".into()),
        }
    }

    /// The batch and the shapes of one example of `x` and `x2`.
    pub fn pairs_of_examples(&self) -> Result<(usize, [Shape; 2]), String> {
        let (batch, left) = self.examples()?;
        match &self.input("x2")?.shape[..] {
            [other, right @ ..] if *other == batch => Ok((batch, [left, right.into()])),
            shape => Err(format!("x2 of {shape:?} beside {batch} examples")),
        }
    }

    /// The batch and `[C, H, W]`; a signal is an image of height 1.
    pub fn images(&self) -> Result<(usize, Shape), String> {
        match self.input("x")?.shape[..] {
            [batch, channels, height, width] => Ok((batch, [channels, height, width].into())),
            [batch, channels, length] => Ok((batch, [channels, 1, length].into())),
            ref shape => Err(format!("x of {shape:?} is no batch of images or signals")),
        }
    }

    /// `(rows, elements)` of a layer normalisation.
    pub fn normalised_rows(&self) -> Result<[usize; 2], String> {
        let x = &self.input("x")?.shape;
        let stated = Options::new(&self.options).list("normalized_shape", extent)?;
        let gamma = self.inputs.get("gamma").map(|gamma| gamma.shape.clone());
        let inner = stated.or(gamma).ok_or("normalized_shape is missing")?;
        match x.strip_suffix(&inner[..]) {
            Some(rows) => Ok([rows.iter().product(), inner.iter().product()]),
            None => Err(format!("normalized_shape {inner:?} of {x:?}")),
        }
    }

    /// Gamma and beta of a normalisation.
    pub fn factors(&self, channels: usize) -> Result<[Vec<f32>; 2], String> {
        let gamma = self.floats_or("gamma", channels, 1.0)?;
        Ok([gamma, self.floats_or("beta", channels, 0.0)?])
    }

    /// Gamma, beta, running mean and running variance of a batch normalisation.
    pub fn batch_norm_parameters(&self, channels: usize) -> Result<[Vec<f32>; 4], String> {
        let [gamma, beta] = self.factors(channels)?;
        Ok([
            gamma,
            beta,
            self.floats_or("running_mean", channels, 0.0)?,
            self.floats_or("running_var", channels, 1.0)?,
        ])
    }

    /// Batches that the running statistics are averages of.
    pub fn batches(&self) -> Result<f32, String> {
        let batches = Options::new(&self.options).extent("num_batches_tracked", 0)?;
        Ok(batches as f32)
    }

    /// The target of a loss.
    pub fn target(&self, name: &str) -> Result<wgpu_cnn::Target, String> {
        Ok(match &self.input(name)?.values {
            Values::Integers(labels) => labels.as_slice().into(),
            Values::Floats(values) => values.as_slice().into(),
        })
    }

    /// The input that a loss compares with.
    pub fn loss_target(&self) -> Result<wgpu_cnn::Target, String> {
        self.target(if self.inputs.contains_key("labels") {
            "labels"
        } else {
            "target"
        })
    }

    /// The values of each parameter of an average's case, in the order of the updates.
    pub fn updates(&self) -> Result<Vec<Vec<&[f32]>>, String> {
        let mut parameters = Vec::new();
        loop {
            let mut values = Vec::new();
            let name = |update: usize| format!("u{update}_p{}", parameters.len());
            while let Some(after) = self.optional(&name(values.len()))? {
                values.push(after);
            }
            match values.is_empty() {
                true => return Ok(parameters),
                false => parameters.push(values),
            }
        }
    }

    /// The parameters of an optimizer case.
    pub fn trajectories(&self) -> Result<Vec<Trajectory<'_>>, String> {
        let mut trajectories = Vec::new();
        while let Some(parameter) = self.optional(&format!("p{}", trajectories.len()))? {
            let mut gradients = Vec::new();
            let name = |step: usize| format!("g{step}_p{}", trajectories.len());
            while let Some(gradient) = self.optional(&name(gradients.len()))? {
                gradients.push(gradient);
            }
            trajectories.push(Trajectory {
                parameter,
                gradients,
            });
        }
        Ok(trajectories)
    }
}
