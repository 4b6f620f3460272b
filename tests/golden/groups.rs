//! Frozen parameters and groups of them: read, given to a trainer, and updated by given gradients.

use serde_json::{Map, Value};
use wgpu_cnn::{Gpu, Group, Linear, Losses, Model, Optimizer, Pattern, Scale, TrainerBuilder};

use crate::Result;
use crate::format::{Case, Outputs};
use crate::layers;
use crate::options::Options;

/// Who learns, and how.
pub struct Groups {
    optimizer: Optimizer,
    frozen: Vec<String>,
    groups: Vec<Group>,
    no_decay_1d: bool,
}

type Keys = Map<String, Value>;

fn name(value: &Value) -> Option<String> {
    value.as_str().map(String::from)
}

impl Groups {
    /// A class of optimizers with `hyper`, which groups add to. The names are followed by `suffix` in the
    /// library's model.
    pub fn read(options: &Options, suffix: &str) -> std::result::Result<Self, String> {
        let none = Map::new();
        let hyper = options.get("hyper").and_then(Value::as_object);
        let hyper = hyper.unwrap_or(&none);
        let class = options.text("optimizer", "SGD")?;
        let lists = match options.get("param_groups") {
            Some(groups) => groups
                .as_array()
                .ok_or("param_groups is no list")?
                .as_slice(),
            None => &[],
        };
        let groups = lists.iter().map(|group| {
            let group = group.as_object().ok_or("a group is not an object")?;
            read_group(class, hyper, group, suffix)
        });
        Ok(Self {
            optimizer: optimizer(class, hyper)?,
            frozen: options.list("frozen", name)?.unwrap_or_default(),
            groups: groups.collect::<std::result::Result<_, String>>()?,
            no_decay_1d: false,
        })
    }

    /// One optimizer, whose parameters of one axis do not decay.
    pub fn no_decay_1d(optimizer: Optimizer) -> Self {
        Self {
            optimizer,
            frozen: vec![],
            groups: vec![],
            no_decay_1d: true,
        }
    }

    pub fn on(&self, builder: TrainerBuilder) -> TrainerBuilder {
        let builder = builder.optimizer(self.optimizer);
        let builder = self.frozen.iter().fold(builder, TrainerBuilder::freeze);
        let groups = self.groups.iter().cloned();
        let builder = groups.fold(builder, TrainerBuilder::group);
        match self.no_decay_1d {
            true => builder.no_decay_on_biases_and_norms(),
            false => builder,
        }
    }

    /// Updates parameters by the gradients of an optimizer case: of a model, in which those of two axes are a
    /// dense layer's weights, and those of one factors of channels.
    pub fn run(&self, case: &Case, gpu: Option<&Gpu>) -> Result<Outputs> {
        let trajectories = case.trajectories()?;
        let mut net = Model::graph();
        let (mut shapes, mut ends, mut inputs) = (Vec::new(), Vec::new(), Vec::new());
        for j in 0..trajectories.len() {
            let shape = case.shape(&format!("p{j}"))?;
            let (rows, columns) = match shape[..] {
                [rows, columns] => (rows, columns),
                [columns] => (1, columns),
                _ => return Err(format!("a parameter of {shape}").into()),
            };
            let x = net.input([columns]);
            ends.push(match shape.rank() {
                1 => net.add(&format!("p{j}"), Scale::new(), [x])?,
                _ => net.add(&format!("p{j}"), Linear::new(rows).bias(false), [x])?,
            });
            shapes.push((shape.rank(), rows, columns));
        }
        let batch = shapes.iter().map(|&(_, _, columns)| columns).max();
        let batch = batch.ok_or("no parameter")?;
        for &(rank, _, columns) in &shapes {
            // Of a dense layer each example asks for one column; all other gradients are 0 in all but the first.
            let one = |at: usize| rank == 1 || at / columns == at % columns;
            let x = (0..batch * columns).map(|at| if one(at) { 1.0 } else { 0.0 });
            inputs.push(x.collect::<Vec<f32>>());
        }
        let model = net.build(ends)?;
        let names: Vec<String> = model.outputs().map(|(name, _)| name).collect();
        let losses = names
            .iter()
            .skip(1)
            .fold(Losses::own(&names[0]), |losses, name| losses.and_own(name));
        let builder = wgpu_cnn::Trainer::builder(model).batch(batch).loss(losses);
        let builder = self.on(builder);
        let mut trainer = match gpu {
            Some(gpu) => builder.on(gpu)?,
            None => builder.on_cpu()?,
        };
        for (j, trajectory) in trajectories.iter().enumerate() {
            trainer.set_parameter(&format!("p{j}.weight"), trajectory.parameter)?;
        }
        let mut out = Outputs::default();
        let steps = trajectories.iter().map(|t| t.gradients.len()).max();
        for k in 0..steps.unwrap_or(0) {
            trainer.forward(inputs.iter().map(|x| &x[..]).collect::<Vec<_>>())?;
            let mut gradients = Vec::new();
            for (trajectory, &(rank, rows, columns)) in trajectories.iter().zip(&shapes) {
                let given = trajectory.gradients.get(k).ok_or("a gradient is missing")?;
                let mut gradient = vec![0.0; batch * if rank == 1 { columns } else { rows }];
                match rank {
                    1 => gradient[..columns].copy_from_slice(given),
                    _ => (0..given.len())
                        .for_each(|at| gradient[at % columns * rows + at / columns] = given[at]),
                }
                gradients.push(gradient);
            }
            trainer.backward(gradients.iter().map(|g| &g[..]).collect::<Vec<_>>())?;
            trainer.update()?;
            for j in 0..trajectories.len() {
                let values = trainer.parameter(&format!("p{j}.weight"))?;
                out.floats(format!("s{k}_p{j}"), values);
            }
        }
        Ok(out)
    }
}

fn optimizer(class: &str, hyper: &Keys) -> std::result::Result<Optimizer, String> {
    let options = Options::new(hyper);
    let optimizer = layers::optimizer(class, &options)?;
    options.finish()?;
    optimizer.ok_or(format!("unknown optimizer {class:?}"))
}

/// A group: by single hyper-parameters where all of its keys are some, or else by a whole optimizer.
fn read_group(
    class: &str,
    hyper: &Keys,
    keys: &Keys,
    suffix: &str,
) -> std::result::Result<Group, String> {
    let (mut all, mut own) = (hyper.clone(), keys.clone());
    let names = own.remove("params").ok_or("a group without params")?;
    let names = names.as_array().ok_or("params is no list")?.iter();
    let names = names.map(|value| Some(format!("{}{suffix}", value.as_str()?)));
    let names: Option<Vec<String>> = names.collect();
    let names = names.ok_or("params are no names")?;
    all.extend(own.clone());
    // Also where it is not needed, so that what is not known fails.
    let whole = optimizer(class, &all)?;
    let meant = Pattern::from(move |name: &str| names.iter().any(|other| other == name));
    let mut group = Some(Group::new(meant.clone()));
    for (key, value) in &own {
        let number = value.as_f64();
        let pair = value.as_array().and_then(|list| match &list[..] {
            [a, b] => Some([a.as_f64()?, b.as_f64()?]),
            _ => None,
        });
        group = group.and_then(|group| match key.as_str() {
            "lr" => number.map(|rate| group.learning_rate(rate)),
            "weight_decay" => number.map(|decay| group.weight_decay(decay)),
            "momentum" => number.map(|momentum| group.momentum(momentum)),
            "eps" => number.map(|epsilon| group.epsilon(epsilon)),
            "betas" => pair.map(|betas| group.betas(betas)),
            _ => None,
        });
    }
    Ok(group.unwrap_or_else(|| Group::new(meant).optimizer(whole)))
}
