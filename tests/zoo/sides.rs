//! The numbers of a case on the CPU, in `f64`, and on a GPU.

use wgpu_cnn::{Gpu, Loss, Model, Optimizer, Reference, Result, Target, Targets, Trainer};

use crate::names;
use crate::numbers::{Case, Numbers, norm};

/// The reference.
pub fn on_cpu(case: &Case) -> Result<Numbers> {
    let network = case.network()?;
    let model = network.build()?;
    let (losses, still) = (network.losses(Loss::cross_entropy()), Optimizer::sgd(0.0));
    let mut reference = Reference::<f64>::new(&model, losses, still, 0)?;
    for (name, values) in case.parameters(&model) {
        let into = reference.parameter_mut(name)?.iter_mut();
        let pairs = into.zip(&values);
        pairs.for_each(|(into, &value)| *into = f64::from(value));
    }
    let input: Vec<f64> = case.input(&model).into_iter().map(f64::from).collect();
    let logits = reference.forward(&input)?;
    let loss = reference.step(&input, targets(case, &model))?;
    let of = |name: &str, kind| match kind {
        Kind::Gradient => Ok(reference.gradient(name)?.to_vec()),
        Kind::Parameter => Ok(reference.parameter(name)?.to_vec()),
    };
    let losses = [&[loss], reference.last_losses()].concat();
    collect(case, &model, logits, losses, of)
}

/// A trainer on a device.
pub fn on_gpu(gpu: &Gpu, case: &Case, direct_only: bool) -> Result<Numbers> {
    let wide = |values: Vec<f32>| values.into_iter().map(f64::from).collect::<Vec<f64>>();
    let network = case.network()?;
    let model = network.build()?;
    let mut trainer = Trainer::builder(model.clone())
        .loss(network.losses(Loss::cross_entropy()))
        .batch(case.batch)
        .optimizer(Optimizer::sgd(0.0))
        .direct_only(direct_only)
        .on(gpu)?;
    for (name, values) in case.parameters(&model) {
        trainer.set_parameter(name, &values)?;
    }
    let input = case.input(&model);
    let logits = wide(trainer.predict(&input)?);
    trainer.step(&input, targets(case, &model))?;
    let mut losses = vec![f64::from(trainer.loss()?)];
    let each = trainer.losses()?;
    losses.extend(each.iter().map(|(_, loss)| f64::from(*loss)));
    let of = |name: &str, kind| match kind {
        Kind::Gradient => Ok(wide(trainer.gradient(name)?)),
        Kind::Parameter => Ok(wide(trainer.parameter(name)?)),
    };
    collect(case, &model, logits, losses, of)
}

/// The same labels for every output.
fn targets(case: &Case, model: &Model) -> Targets {
    let labels = || Target::from(case.labels(model));
    let targets: Vec<Target> = model.outputs().map(|_| labels()).collect();
    targets.into()
}

/// What a side is asked for by the name of a parameter.
enum Kind {
    Gradient,
    Parameter,
}

/// Puts the numbers of a side under the names that they are stored by.
fn collect(
    case: &Case,
    model: &Model,
    logits: Vec<f64>,
    losses: Vec<f64>,
    of: impl Fn(&str, Kind) -> Result<Vec<f64>>,
) -> Result<Numbers> {
    let mut numbers = Numbers::new();
    numbers.insert("logits".into(), logits);
    numbers.insert("losses".into(), losses);
    let here: Vec<&str> = model.parameters().map(|(name, _)| name).collect();
    let (mut gradients, mut statistics) = (Vec::new(), Vec::new());
    // In PyTorch's order.
    for (name, _) in &names::networks()[&*case.network] {
        if !here.contains(&&**name) {
            continue;
        }
        if name.ends_with(".running_mean") || name.ends_with(".running_var") {
            statistics.push(norm(&of(name, Kind::Parameter)?));
            continue;
        }
        let values = of(name, Kind::Gradient)?;
        gradients.push(norm(&values));
        let key = format!("gradient {name}");
        if case.tensors.iter().any(|stored| stored.name == key) {
            numbers.insert(key, values);
        }
    }
    numbers.insert("gradient norms".into(), gradients);
    if !statistics.is_empty() {
        numbers.insert("statistics norms".into(), statistics);
    }
    Ok(numbers)
}
