//! Models and their builder.

use wgpu_cnn::engine::catalogue::{self, Case, ModelCase};
use wgpu_cnn::{Branch, Error, Input, Inputs, Model, ModelBuilder, Shape, Trainer};

use crate::call::Call;
use crate::draw::Draw;
use crate::{joined, op, resize};

const BUILDER: &[&str] = &[
    "Model::builder",
    "ModelBuilder::push",
    "ModelBuilder::conv2d",
    "ModelBuilder::max_pool2d",
    "ModelBuilder::dense",
    "ModelBuilder::conv1d",
    "ModelBuilder::conv_transpose2d",
    "ModelBuilder::max_pool1d",
    "ModelBuilder::avg_pool2d",
    "ModelBuilder::avg_pool1d",
    "ModelBuilder::pad2d",
    "ModelBuilder::global_max_pool",
    "ModelBuilder::global_avg_pool",
    "ModelBuilder::global_softmax_pool",
    "ModelBuilder::upsample2d",
    "ModelBuilder::pixel_shuffle",
    "ModelBuilder::pixel_unshuffle",
    "ModelBuilder::adaptive_avg_pool2d",
    "ModelBuilder::adaptive_max_pool2d",
    "ModelBuilder::relu",
    "ModelBuilder::sigmoid",
    "ModelBuilder::tanh",
    "ModelBuilder::leaky_relu",
    "ModelBuilder::gelu",
    "ModelBuilder::gelu_tanh",
    "ModelBuilder::silu",
    "ModelBuilder::softplus",
    "ModelBuilder::elu",
    "ModelBuilder::relu6",
    "ModelBuilder::hard_tanh",
    "ModelBuilder::hard_sigmoid",
    "ModelBuilder::hard_swish",
    "ModelBuilder::selu",
    "ModelBuilder::celu",
    "ModelBuilder::mish",
    "ModelBuilder::softsign",
    "ModelBuilder::prelu",
    "ModelBuilder::softmax",
    "ModelBuilder::log_softmax",
    "ModelBuilder::batch_norm",
    "ModelBuilder::layer_norm",
    "ModelBuilder::scale",
    "ModelBuilder::slice",
    "ModelBuilder::channel_shuffle",
    "ModelBuilder::channel_permute",
    "ModelBuilder::pointwise_linear",
    "ModelBuilder::gate",
    "ModelBuilder::layer_norm_channels",
    "ModelBuilder::group_norm",
    "ModelBuilder::instance_norm",
    "ModelBuilder::local_response_norm",
    "ModelBuilder::dropout",
    "ModelBuilder::dropout2d",
    "ModelBuilder::stochastic_depth",
    "ModelBuilder::flatten",
    "ModelBuilder::reshape",
    "ModelBuilder::residual",
    "ModelBuilder::residual_with",
    "ModelBuilder::concat",
    "ModelBuilder::build",
    "Model::input_shape",
    "Model::output_shape",
    "Model::parameters",
    "Model::parameter_count",
];

const BYTES: &[&str] = &["Model::take_bytes"];

const CASE: &[&str] = &["Case::model", "Case::model_before", "Case::models_around"];

const COMPARISON: &[&str] = &[
    "catalogue::off",
    "catalogue::worst",
    "catalogue::meaningful",
    "catalogue::of_sum",
];

const CATALOGUE: &[&str] = &[
    "catalogue::cases",
    "catalogue::cores",
    "catalogue::losses",
    "catalogue::models",
    "catalogue::optimizers",
];

const PIPELINES: &[&str] = &["catalogue::pipelines"];

pub fn calls() -> Vec<Call> {
    vec![
        Call::quick(BUILDER, |d| {
            random(d).is_ok_and(|model| {
                let names: Vec<_> = model.parameters().map(|(name, _)| name).collect();
                let distinct: std::collections::BTreeSet<_> = names.iter().collect();
                assert_eq!(distinct.len(), names.len(), "two of one name");
                let _ = (model.input_shape().len(), model.output_shape().len());
                !model.to_string().is_empty() && model.parameter_count() < usize::MAX
            })
        }),
        Call::medium(BYTES, |d| given_bytes(d).is_ok()),
        Call::medium(CASE, |d| {
            let mut case = case(d);
            match d.below(3) {
                0 => case.model().is_ok(),
                1 => case.model_before(op::layer(d)).is_ok(),
                _ => {
                    case.inputs.truncate(d.number());
                    case.models_around().is_ok()
                }
            }
        }),
        Call::quick(COMPARISON, |d| {
            let len = d.below(9);
            let values: Vec<f64> = d.floats(len);
            let tolerance = d.real();
            let off = |at: usize| catalogue::off(values[at], tolerance, tolerance);
            let worst = catalogue::worst(values.len(), off);
            let counts = values.iter().map(|&value| value != 0.0);
            let _ = (catalogue::of_sum(d.number(), d.real()), worst);
            catalogue::meaningful(counts, d.real()).is_ok()
        }),
        Call::medium(CATALOGUE, |_| {
            let models = catalogue::models();
            let losses = |case: &ModelCase| catalogue::losses(&case.model).len();
            let count = models.iter().flatten().map(losses).sum::<usize>();
            count > 0
                && catalogue::cores().count() > 0
                && !catalogue::cases().is_empty()
                && !catalogue::optimizers().is_empty()
        }),
        Call::medium(PIPELINES, |d| {
            let classes = d.below(9);
            let (loss, optimizer) = (op::loss(d, classes), op::optimizer(d));
            let core = d.pick(&[None, Some("tiled-128"), Some("direct"), Some("none")]);
            let (batch, half, few) = (d.number(), d.flag(), d.flag());
            random(d).is_ok_and(|model| {
                catalogue::pipelines(&model, &loss, &optimizer, batch, half, core, few).is_ok()
            })
        }),
    ]
}

/// A model of any layers, if they fit each other.
pub fn random(d: &mut Draw) -> Result<Model, Error> {
    let mut builder = Model::builder(d.image());
    for _ in 0..d.below(6) {
        builder = extended(d, builder, 2);
    }
    builder.build()
}

/// A step and a prediction from bytes, in a model that may take them.
fn given_bytes(d: &mut Draw) -> Result<(), Error> {
    let hostile = Model::builder(d.image()).flatten().build()?;
    let _ = hostile.take_bytes("input", [[d.single()], [d.single()]]);
    let model = Model::builder([3, 2, 2]).flatten().dense(2).build()?;
    let (name, mean, deviation) = (
        d.pick(&["input", "input", "input 1", ""]),
        d.single(),
        d.single(),
    );
    let deviation = if d.is_hostile() { deviation } else { 0.5 };
    let model = match d.below(4) {
        0 => model,
        1 => model.take_bytes(name, [[mean], [deviation]])?,
        2 => model.take_bytes(name, [[mean, 0.0, 1.0], [deviation, 0.5, 1.0]])?,
        _ => model.take_bytes(name, [[], []])?,
    };
    let mut trainer = Trainer::builder(model).batch(2).on_cpu()?;
    let bytes: Vec<u8> = vec![d.below(256) as u8; d.length(24)];
    trainer.predict(&bytes)?;
    let given = d.pick(&[Input::Bytes(&bytes), Input::Numbers(&[0.5; 24])]);
    trainer.step(Inputs::from([given]), [0u8, 1])
}

/// A case with an operator and with inputs of any shape.
fn case(d: &mut Draw) -> Case {
    let mut case = d.pick(&catalogue::cases());
    if d.flag() {
        case.op = op::layer(d);
    }
    if d.flag() {
        case.inputs = (0..d.below(4)).map(|_| d.image()).collect();
    }
    case.batch = d.number();
    case
}

/// A layer more, or a block of them.
fn extended(d: &mut Draw, builder: ModelBuilder, depth: usize) -> ModelBuilder {
    match d.below(40) {
        0 => builder.conv2d(d.number(), d.size()),
        1 => builder.max_pool2d(d.size()),
        2 => builder.dense(d.number()),
        3 => builder.conv1d(d.number(), d.number()),
        4 => builder.conv_transpose2d(d.number(), d.size()),
        5 => builder.max_pool1d(d.number()),
        6 => builder.avg_pool2d(d.size()),
        7 => builder.avg_pool1d(d.number()),
        8 if d.flag() => builder.pad2d(d.padding(), d.padding_mode()),
        8 => builder.global_max_pool(),
        9 => builder.global_avg_pool(),
        10 => builder.global_softmax_pool(),
        11 => builder.relu().sigmoid().tanh().leaky_relu(d.single()),
        12 => builder.gelu().gelu_tanh().silu().softplus(),
        13 => match d.flag() {
            true => builder
                .elu(d.single())
                .celu(d.single())
                .hard_tanh(d.single(), d.single()),
            false => builder
                .relu6()
                .hard_sigmoid()
                .hard_swish()
                .selu()
                .mish()
                .softsign(),
        },
        14 => builder.prelu().softmax().log_softmax(),
        15 => builder.batch_norm(),
        16 if d.flag() => builder.layer_norm(),
        16 => builder.scale(),
        18 if d.flag() => match d.below(4) {
            0 => builder.slice(d.number(), joined::range(d)),
            1 => builder.channel_shuffle(d.number()),
            2 => builder.channel_permute(joined::channel_permute(d).index),
            _ => builder.pointwise_linear(d.number()),
        },
        17 => match d.below(3) {
            0 => builder.dropout(d.real()),
            1 => builder.dropout2d(d.real()),
            _ => builder.stochastic_depth(d.real()),
        },
        32 => builder.layer_norm_channels().instance_norm(),
        33 => builder
            .group_norm(d.number())
            .local_response_norm(d.number()),
        18 => builder.flatten(),
        19 => builder.reshape(d.shape()),
        26 => builder.upsample2d(d.number()),
        27 => builder.upsample2d(resize::upsample2d(d)),
        28 => builder.pixel_shuffle(d.number()),
        29 => builder.pixel_unshuffle(d.number()),
        30 => builder.adaptive_avg_pool2d(d.size()),
        31 => builder.adaptive_max_pool2d(d.size()),
        20..26 if depth > 0 => block(d, builder, depth - 1),
        _ => builder.push(op::layer(d)),
    }
}

/// A block with branches, which may return what they were not given.
fn block(d: &mut Draw, builder: ModelBuilder, depth: usize) -> ModelBuilder {
    let (older, other) = (builder.clone(), Model::builder(Shape::from([2, 3])));
    match d.below(8) {
        0..3 => builder.residual(|body| extended(d, body, depth)),
        3 => builder.residual_with(|body| body.relu(), |shortcut| extended(d, shortcut, depth)),
        4 if d.flag() => builder.gate(|gate| extended(d, gate, depth)),
        4 => builder.residual(|_| older.relu()),
        5 => builder.residual_with(|_| extended(d, other, depth), |shortcut| shortcut),
        6 => builder.concat(Vec::<Branch>::new()),
        _ => builder.concat([
            Branch::new(|branch| branch.relu()),
            Branch::new(|branch| branch.residual(|body| body)),
        ]),
    }
}
