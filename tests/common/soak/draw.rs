//! A model and all about its training, from a seed. Extents, of 1 among them, and options come from short
//! lists, so that pipelines repeat.

use std::fmt;

use fastrand::Rng;
use wgpu_cnn::engine::catalogue::{Case, cases, losses, optimizers};
use wgpu_cnn::{
    Activation, Conv2d, CrossEntropy, Flatten, GlobalPool, Linear, Loss, Model, Mul, Optimizer,
    Reduction, Reshape, Shape,
};

use super::layer::{Layer, MOST_BRANCHES, Network, chain, shape_behind};
use super::operator::operator;

/// A model with everything about its training.
#[derive(Debug, Clone)]
pub struct Drawn {
    pub seed: u64,
    pub network: Network,
    pub batch: usize,
    pub loss: Loss,
    pub optimizer: Optimizer,
    pub accumulate: usize,
    pub clip_norm: Option<f64>,
    /// The largest buffer for parameters in bytes, where it is not the device's.
    pub max_slab: Option<u64>,
    pub in_flight: usize,
    /// Whether weights start elsewhere than where the seed of the trainer says.
    pub other_weights: bool,
    pub batches: Vec<Batch>,
}

/// A step of training, and what happens after it.
#[derive(Debug, Clone, Copy)]
pub struct Batch {
    pub examples: usize,
    pub fill: Fill,
    /// Whether a loss that takes both is given probabilities in place of labels.
    pub soft: bool,
    /// What the learning rate is set to before it.
    pub learning_rate: Option<f64>,
    /// Whether what is pending becomes an update after it.
    pub update: bool,
    /// Examples of the prediction after it.
    pub predict: usize,
}

/// What the input of a model holds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Fill {
    /// Within (-1, 1).
    Uniform,
    /// Within (-8, 8).
    Large,
    /// Whole numbers within -3..=3, many of them equal.
    Integers,
    /// Mostly zeros.
    Sparse,
}

/// Steps of training.
const STEPS: usize = 3;
/// Values of an example between two layers.
const LARGEST: usize = 1 << 12;
/// Values of a batch between two layers.
const LARGEST_BATCH: usize = 1 << 15;
/// Multiplications of a layer for one example.
const WORK: usize = 1 << 18;

impl Drawn {
    /// The model of a seed.
    pub fn new(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x50a4);
        let rng = &mut rng;
        let (network, model) = loop {
            let network = network(rng);
            if let Ok(model) = network.model()
                && model.parameters().next().is_some()
            {
                break (network, model);
            }
        };
        let widest = widest(&network, &model);
        let normalised = model
            .parameters()
            .any(|(name, _)| name.ends_with("running_mean"));
        // Normalisation over a batch refuses one value per channel.
        let least = if normalised { 2 } else { 1 };
        let sizes = [1, 2, 3, 4, 5, 7, 8, 16, 17, 33, 64, 65];
        let fit = |size: &usize| *size >= least && size * widest <= LARGEST_BATCH;
        let sizes: Vec<usize> = sizes.into_iter().filter(fit).collect();
        let batch = if sizes.is_empty() {
            least
        } else {
            pick(rng, &sizes)
        };
        let accumulate = pick(rng, &[1, 1, 1, 1, 2, 3]);
        let batches = (0..STEPS).map(|step| {
            let partial = rng.usize(least..=batch);
            Batch {
                examples: pick(rng, &[batch, batch, partial, least]),
                fill: pick(
                    rng,
                    &[
                        Fill::Uniform,
                        Fill::Uniform,
                        Fill::Uniform,
                        Fill::Large,
                        Fill::Integers,
                        Fill::Sparse,
                    ],
                ),
                soft: one_in(rng, 4),
                learning_rate: (step > 0 && one_in(rng, 4)).then(|| pick(rng, &[0.0, 0.003, 0.05])),
                update: one_in(rng, 4),
                predict: pick(rng, &[1, batch, batch + 1, 2 * batch]).min(80),
            }
        });
        Self {
            seed,
            batch,
            batches: batches.collect(),
            loss: loss(rng, &model),
            optimizer: optimizer(rng),
            accumulate,
            clip_norm: one_in(rng, 3).then(|| pick(rng, &[0.01, 1.0, 100.0])),
            max_slab: one_in(rng, 4).then(|| slab(rng, &model)),
            in_flight: pick(rng, &[1, 2, 2, 5]),
            other_weights: rng.bool(),
            network,
        }
    }
}

impl fmt::Display for Drawn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            seed,
            network,
            batch,
            loss,
            optimizer,
            accumulate,
            clip_norm,
            ..
        } = self;
        let Self {
            max_slab,
            in_flight,
            other_weights,
            batches,
            ..
        } = self;
        writeln!(f, "seed {seed}")?;
        write!(f, "{network}")?;
        writeln!(
            f,
            "  batch {batch}, accumulate {accumulate}, clip_norm {clip_norm:?}, max_slab {max_slab:?}, in_flight {in_flight}, other weights {other_weights}"
        )?;
        writeln!(f, "  {loss:?}")?;
        writeln!(f, "  {optimizer:?}")?;
        batches
            .iter()
            .try_for_each(|batch| writeln!(f, "  {batch:?}"))
    }
}

pub fn pick<T: Clone>(rng: &mut Rng, from: &[T]) -> T {
    from[rng.usize(..from.len())].clone()
}

pub fn one_in(rng: &mut Rng, many: usize) -> bool {
    rng.usize(..many) == 0
}

/// A size of buffer that every parameter fits in.
fn slab(rng: &mut Rng, model: &Model) -> u64 {
    let bytes = model.parameters().map(|(_, shape)| 4 * shape.len() as u64);
    let largest = bytes.max().unwrap_or(4).next_multiple_of(256);
    largest * pick(rng, &[1, 2, 5])
}

fn loss(rng: &mut Rng, model: &Model) -> Loss {
    // Pixels have their classes along the first axis.
    let classes = model.output_shape().first().copied().unwrap_or(1);
    let mut all: Vec<Loss> = losses(model).into_iter().map(|(_, loss)| loss).collect();
    let weights = (0..classes).map(|_| pick(rng, &[0.0f32, 0.5, 1.0, 3.0]));
    let weights: Vec<f32> = weights.collect();
    if all.iter().any(|loss| matches!(loss, Loss::CrossEntropy(_))) {
        let smooth = CrossEntropy::default().label_smoothing(pick(rng, &[0.0, 0.1, 1.0]));
        let ignoring = smooth.clone().ignored_label(pick(rng, &[-100, -1, 0]));
        all.extend([smooth.into(), ignoring.clone().into()]);
        // A batch of nothing but weights of zero has no mean.
        all.push(
            ignoring
                .class_weights(weights)
                .reduction(Reduction::Sum)
                .into(),
        );
    }
    pick(rng, &all).reduction(pick(
        rng,
        &[
            Reduction::Mean,
            Reduction::Mean,
            Reduction::Sum,
            Reduction::BatchMean,
        ],
    ))
}

fn optimizer(rng: &mut Rng) -> Optimizer {
    let mut all: Vec<Optimizer> = optimizers()
        .into_iter()
        .map(|(_, optimizer)| optimizer)
        .collect();
    let rate = pick(rng, &[0.001, 0.01, 0.1]);
    let more: [Optimizer; 5] = [
        Optimizer::sgd(rate).into(),
        Optimizer::sgd(rate).momentum(0.9).into(),
        Optimizer::adam(rate).betas([0.5, 0.9]).epsilon(1e-3).into(),
        Optimizer::adam(rate)
            .betas([0.0, 0.0])
            .epsilon(0.1)
            .weight_decay(0.1)
            .into(),
        Optimizer::rmsprop(rate).momentum(0.5).epsilon(1e-3).into(),
    ];
    all.extend(more);
    pick(rng, &all)
}

/// The largest number of values per example that flow through a network.
fn widest(network: &Network, model: &Model) -> usize {
    let ends = model.input_shape().len().max(model.output_shape().len());
    match network {
        Network::Chain { input, layers } => (0..layers.len())
            .filter_map(|at| Some(shape_behind(input, &layers[..=at]).ok()?.len()))
            .fold(ends, usize::max),
        Network::Case { case, .. } => case.inputs.iter().map(Shape::len).fold(ends, usize::max),
    }
}

fn network(rng: &mut Rng) -> Network {
    if one_in(rng, 12) {
        let case = catalogue_case(rng);
        let mut models = case.models_around().unwrap_or_default();
        models.extend(case.model().ok());
        let after = pick(rng, &Activation::ALL);
        models.extend(case.model_before(after).ok());
        return Network::Case {
            model: Box::new(pick(rng, &models)),
            case: Box::new(case),
        };
    }
    let channels = pick(rng, &[1, 2, 3, 4, 6, 8, 16]);
    let input = match rng.usize(..8) {
        0 => Shape::from([pick(rng, &[1, 2, 3, 5, 8, 20, 65, 257])]),
        1 | 2 => Shape::from([channels, pick(rng, LENGTHS)]),
        _ => Shape::from([channels, pick(rng, EXTENTS), pick(rng, EXTENTS)]),
    };
    let depth = rng.usize(1..8);
    let mut layers = layers(rng, &input, depth, 0);
    if rng.bool() {
        layers.push(Layer::One(Flatten.into()));
        layers.push(Layer::One(Linear::new(pick(rng, &[1, 2, 3, 10])).into()));
    }
    Network::Chain { input, layers }
}

const EXTENTS: &[usize] = &[1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 16, 17];
const LENGTHS: &[usize] = &[1, 2, 3, 4, 5, 7, 8, 16, 17, 41, 130];

/// A case of any operator.
pub fn catalogue_case(rng: &mut Rng) -> Case {
    // Every operator as often as every other, whatever the number of its cases.
    let cases = cases();
    let mut names: Vec<&str> = cases.iter().map(|case| case.op.name()).collect();
    names.dedup();
    let name = pick(rng, &names);
    let of_it: Vec<Case> = cases
        .into_iter()
        .filter(|case| case.op.name() == name)
        .collect();
    pick(rng, &of_it)
}

/// A chain of so many layers and blocks.
fn layers(rng: &mut Rng, input: &Shape, depth: usize, nesting: usize) -> Vec<Layer> {
    let (mut shape, mut layers) = (input.clone(), Vec::new());
    for _ in 0..depth {
        let drawn = match rng.usize(..12) {
            0 | 1 if nesting < 3 => residual(rng, &shape, nesting),
            2 if nesting < 3 => concat(rng, &shape, nesting),
            3 => from_catalogue(rng),
            _ => vec![Layer::One(operator(rng, &shape))],
        };
        // What does not fit is left out.
        if let Some(behind) = fitting(&shape, &drawn) {
            layers.extend(drawn);
            shape = behind;
        }
    }
    layers
}

/// The shape behind layers, if they fit and are not too large.
fn fitting(shape: &Shape, layers: &[Layer]) -> Option<Shape> {
    let model = chain(Model::builder(shape.clone()), layers).build().ok()?;
    let behind = model.output_shape();
    // Each weight meets each position of what it writes.
    let places = if behind.rank() > 1 {
        behind.len() / behind[0]
    } else {
        1
    };
    let weights = model
        .parameters()
        .map(|(_, shape)| shape.len())
        .sum::<usize>();
    (behind.len() <= LARGEST && weights * places <= WORK).then(|| behind.clone())
}

/// An operator as a case has it, with a dense layer that makes what it takes.
fn from_catalogue(rng: &mut Rng) -> Vec<Layer> {
    let case = catalogue_case(rng);
    let [input] = &case.inputs[..] else {
        return vec![];
    };
    [
        Flatten.into(),
        Linear::new(input.len()).into(),
        Reshape::new(input.clone()).into(),
        case.op,
    ]
    .map(Layer::One)
    .into()
}

/// Layers that make a shape of any other.
fn reshaped(to: &Shape) -> [Layer; 3] {
    [
        Flatten.into(),
        Linear::new(to.len()).into(),
        Reshape::new(to.clone()).into(),
    ]
    .map(Layer::One)
}

fn residual(rng: &mut Rng, shape: &Shape, nesting: usize) -> Vec<Layer> {
    let depth = rng.usize(0..4);
    let mut body = layers(rng, shape, depth, nesting + 1);
    let Some(behind) = fitting(shape, &body) else {
        return vec![];
    };
    if Mul.geometry(1, shape, &behind).is_ok() && rng.bool() {
        // With a number for each channel, as squeeze and excitation has it, where there are planes.
        if behind.rank() > 1 && rng.bool() {
            body.push(Layer::One(GlobalPool::Average.into()));
        }
        body.push(Layer::One(Activation::Sigmoid.into()));
        return vec![Layer::Gate(body)];
    }
    let shortcut = match (behind == *shape, &behind[..]) {
        (true, _) => vec![],
        (false, [channels, height, width])
            if shape.rank() == 3 && shape[1..] == [*height, *width] =>
        {
            vec![Layer::One(Conv2d::new(*channels, 1).into())]
        }
        (false, _) if rng.bool() => reshaped(&behind).into(),
        (false, _) => {
            body.extend(reshaped(shape));
            vec![]
        }
    };
    vec![Layer::Residual { body, shortcut }]
}

fn concat(rng: &mut Rng, shape: &Shape, nesting: usize) -> Vec<Layer> {
    let branches = (0..rng.usize(1..=MOST_BRANCHES)).map(|_| {
        let depth = rng.usize(0..3);
        let mut branch = layers(rng, shape, depth, nesting + 1);
        let behind = fitting(shape, &branch);
        if behind.is_none_or(|behind| behind[1..] != shape[1..] || behind.rank() != shape.rank()) {
            branch.extend(reshaped(shape));
        }
        branch
    });
    vec![Layer::Concat(branches.collect())]
}
