//! Graphs, and trainers with several inputs, outputs and losses.

use pollster::block_on;
use wgpu_cnn::{
    Activation, Add, Branch, Concat, Error, Flatten, GraphBuilder, Inputs, Linear, Loss, Losses,
    Model, ModelBuilder, Reference, Trainer, TrainerBuilder, Value,
};

use crate::call::Call;
use crate::draw::Draw;
use crate::op;

const GRAPH: &[&str] = &[
    "Model::graph",
    "GraphBuilder::input",
    "GraphBuilder::constant",
    "GraphBuilder::add",
    "GraphBuilder::apply",
    "GraphBuilder::share",
    "GraphBuilder::scope",
    "GraphBuilder::chain",
    "GraphBuilder::split",
    "GraphBuilder::rename",
    "GraphBuilder::fix",
    "GraphBuilder::shape",
    "GraphBuilder::build",
    "Model::input_shapes",
    "Model::outputs",
];

const CHAIN: &[&str] = &[
    "ModelBuilder::named",
    "ModelBuilder::graph",
    "ModelBuilder::join",
    "Branch::new",
];

const SEVERAL: &[&str] = &[
    "Losses::of",
    "Losses::own",
    "Losses::own_first",
    "Losses::and",
    "Losses::and_own",
    "Reference::forward_all",
    "Reference::forward_training",
    "Reference::backward",
    "Trainer::losses",
    "Trainer::losses_async",
    "Trainer::predict_all",
    "Trainer::predict_all_async",
    "Trainer::forward",
    "Trainer::forward_async",
    "Trainer::backward",
    "Trainer::backward_async",
];

pub fn calls() -> Vec<Call> {
    vec![
        Call::quick(GRAPH, |d| {
            random(d).is_ok_and(|model| {
                let values = model.input_shapes().chain(model.outputs().map(|(_, s)| s));
                values.map(|shape| shape.len()).sum::<usize>() > 0
            })
        }),
        Call::quick(CHAIN, |d| {
            let usual = !d.is_hostile();
            let mut drawn = || match usual {
                true => Activation::Relu.into(),
                false => op::layer(d),
            };
            let [first, join, layers @ ..] = [(); 4].map(|()| drawn());
            let join = if usual { Add.into() } else { join };
            let builder = Model::builder(d.image()).named(name(d), first);
            let builder = builder.graph(|net, x| {
                let y = match usual {
                    true => net.apply(Flatten, [x])?,
                    false => layer(d, net, &[x])?,
                };
                net.apply(Concat, [y, y])
            });
            let branches = layers.map(|layer| Branch::new(move |branch| branch.push(layer)));
            builder.join(join, branches).build().is_ok()
        }),
        Call::medium(SEVERAL, |d| several(d).is_ok()),
    ]
}

fn name(d: &mut Draw) -> &'static str {
    d.pick(&[
        "a",
        "b",
        "a.weight",
        "a.bias",
        "",
        ".",
        "a.running_mean",
        "\0",
    ])
}

/// A layer on some of the values.
fn layer(d: &mut Draw, net: &mut GraphBuilder, values: &[Value]) -> Result<Value, Error> {
    let mut some = || d.pick(values);
    let (one, two) = (some(), [some(), some()]);
    match d.below(6) {
        0 => net.apply(Add, two),
        1 => net.apply(Concat, two),
        2 => net.apply(Flatten, [one]),
        3 => net.apply(Activation::Relu, [one]),
        _ => net.add(name(d), op::layer(d), [one]),
    }
}

/// A chain whose graph may be lost on the way.
fn lost(d: &mut Draw, chain: ModelBuilder) -> ModelBuilder {
    let foreign = Model::builder(d.image());
    let chain = match d.below(5) {
        0 => foreign,
        1 => chain.residual(|_| foreign),
        2 => chain.concat([Branch::new(|b| b), Branch::new(|_| foreign)]),
        3 => chain.graph(|net, x| {
            *net = Model::graph();
            Ok(x)
        }),
        _ => chain.graph(|net, x| {
            let _ = net.chain("lost", x, |_| foreign);
            Ok(x)
        }),
    };
    chain.push(op::layer(d))
}

/// A graph of any layers, if they fit each other.
fn random(d: &mut Draw) -> Result<Model, Error> {
    let mut net = Model::graph();
    let mut values = vec![net.input(d.image())];
    for _ in 0..d.below(8) {
        let value = d.pick(&values);
        let made = match d.below(14) {
            0 => Ok(net.input(d.image())),
            1 => {
                let shape = d.image();
                let values = d.floats(shape.len().min(1 << 12));
                net.constant(name(d), shape, values)
            }
            2 => net.share(name(d), name(d), [value]),
            3 => net.scope(name(d), |net| layer(d, net, &values)),
            4 => net.chain(name(d), value, |chain| chain.push(op::layer(d))),
            5 => net.rename(name(d), name(d), d.shape()).map(|()| value),
            6 => {
                let len = d.number().min(1 << 12);
                net.fix(name(d), d.floats::<f32>(len)).map(|()| value)
            }
            10 if d.is_hostile() => net.chain(name(d), value, |chain| lost(d, chain)),
            9 => {
                let half = d.number();
                let parts = net.split(value, d.below(3), &[half, half]);
                parts.map(|parts| parts[0])
            }
            7 => Model::graph().shape(value).map(|_| value),
            8 if d.is_hostile() => Ok(Model::graph().input(d.image())),
            _ => layer(d, &mut net, &values),
        };
        // What failed has changed nothing, or is told again: the graph goes on.
        values.extend(made);
    }
    let last = values.last().copied();
    match d.below(3) {
        0 => net.build(values),
        1 => net.build(last),
        _ => net.build([d.pick(&values), d.pick(&values)]),
    }
}

/// Two inputs, and two outputs that both depend on the first.
fn model() -> Result<Model, Error> {
    let mut net = Model::graph();
    let (x, other) = (net.input([4]), net.input([2]));
    let both = net.apply(Concat, [x, other])?;
    let first = net.add("first", Linear::new(3), [both])?;
    let second = net.add("second", Linear::new(2), [x])?;
    net.build([first, second])
}

fn output(d: &mut Draw) -> &'static str {
    d.pick(&["first", "second", "first", "second", "third", ""])
}

fn losses(d: &mut Draw) -> Losses {
    let weight = if d.is_hostile() { d.real() } else { 0.5 };
    let mut losses = match d.flag() {
        true => Losses::own(output(d)),
        false => Losses::of(output(d), Loss::mean_squared_error(), weight),
    };
    if d.flag() {
        let first = if d.flag() {
            Losses::own("first")
        } else {
            Losses::own_first()
        };
        return first.and_own("second");
    }
    for _ in 0..d.below(3) {
        losses = match d.below(4) {
            0 => losses.and_own(output(d)),
            1 => losses.and(output(d), op::loss(d, 3), weight),
            _ => losses.and(output(d), Loss::mean_squared_error(), weight),
        };
    }
    losses
}

fn several(d: &mut Draw) -> Result<(), Error> {
    let losses = losses(d);
    let mut reference = Reference::<f32>::new(&model()?, losses.clone(), op::optimizer(d), 0)?;
    let rows = 1 + d.below(4);
    let data = [d.floats(4 * rows), d.floats(2 * rows)];
    drop(reference.forward_all([&data[0], &data[1]])?);
    let own = reference.forward_training([&data[0], &data[1]]);
    let gradients = [d.floats(3 * rows), d.floats(2 * rows)];
    let back = reference.backward([&gradients[0], &gradients[1]]);
    assert!(own.is_ok() || back.is_err());
    let mut trainer = Trainer::builder(model()?).loss(losses).batch(3).on_cpu()?;
    used(d, &mut trainer)
}

/// A trainer of this model by two losses of one's own.
pub fn own() -> Result<TrainerBuilder, Error> {
    let losses = Losses::own("first").and_own("second");
    Ok(Trainer::builder(model()?).loss(losses).batch(3))
}

/// Some calls of a trainer of this model; the first error ends them.
pub fn used(d: &mut Draw, trainer: &mut Trainer) -> Result<(), Error> {
    for _ in 0..d.below(8) {
        let rows = if d.is_hostile() {
            d.number().min(1 << 10)
        } else {
            2
        };
        let data = [d.floats(4 * rows), d.floats(2 * rows)];
        let inputs = || Inputs::from([&data[0], &data[1]]);
        let targets = [d.floats::<f32>(3 * rows), d.floats(2 * rows)];
        let all = [&targets[0], &targets[1]];
        let done = match d.below(8) {
            0 => trainer.predict_all(inputs()).map(drop),
            1 => block_on(trainer.predict_all_async(inputs())).map(drop),
            2 => trainer.forward(inputs()).map(drop),
            3 => block_on(trainer.forward_async(inputs())).map(drop),
            4 => trainer.backward(all),
            5 => block_on(trainer.backward_async(all)),
            6 => trainer.update(),
            _ => trainer.step(inputs(), all),
        };
        done.or_else(|error| match error {
            // What does not fit has changed nothing.
            Error::Argument { .. } | Error::Shape { .. } => Ok(()),
            other => Err(other),
        })?;
        let _ = (trainer.losses(), block_on(trainer.losses_async()));
    }
    Ok(())
}
