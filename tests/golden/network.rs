//! Whole networks, trained for some steps on the CPU reference or on a GPU.

use serde_json::Value;
use wgpu_cnn::{Gpu, Loss, Losses, Model, ModelBuilder, Op, Shape, Softmax, Target, Trainer};

use crate::Result;
use crate::format::{Case, Outputs};
use crate::graph::Graph;
use crate::groups::Groups;
use crate::layers;
use crate::options::{Options, extent};

pub struct Network {
    /// `(N, ...)`.
    input: Shape,
    body: Body,
    losses: Vec<NetworkLoss>,
    groups: Groups,
    steps: usize,
}

/// A loss of an output: the last layer's where it has no name.
struct NetworkLoss {
    output: Option<String>,
    loss: Loss,
    weight: f64,
    /// What the names of its targets begin with.
    target: String,
}

enum Body {
    Chain(Vec<Layer>),
    Graph(Graph),
}

enum Layer {
    Op(Op),
    Residual {
        body: Vec<Layer>,
        shortcut: Vec<Layer>,
    },
}

impl Network {
    pub fn read(options: &Options) -> std::result::Result<Self, String> {
        let input = options.list("input", extent)?.ok_or("input is missing")?;
        if input.is_empty() {
            return Err("input has no axes".into());
        }
        // Their names follow from the layers.
        options.redundant(&["parameters"]);
        let groups = Groups::read(options, "")?;
        let (body, losses) = match options.get("graph") {
            Some(nodes) => {
                let graph = Graph::read(nodes, options)?;
                (Body::Graph(graph), read_losses(options)?)
            }
            None => {
                let layers = read_layers(options.get("layers"))?;
                let loss = NetworkLoss {
                    output: None,
                    loss: read_loss(options, "mse_loss")?,
                    weight: 1.0,
                    target: "t".into(),
                };
                (Body::Chain(layers), vec![loss])
            }
        };
        Ok(Self {
            input: input.into(),
            body,
            losses,
            groups,
            steps: options.extent("steps", 0)?,
        })
    }

    pub fn knows_target(&self, prefix: &str) -> bool {
        self.losses.iter().any(|loss| loss.target == prefix)
    }

    pub fn is_transcendental(&self) -> bool {
        let mut losses = self.losses.iter();
        losses.any(|loss| layers::is_transcendental_loss(&loss.loss))
            || self.any(&layers::is_transcendental)
    }

    /// Whether any layer is one that is looked for.
    fn any(&self, wanted: &impl Fn(&Op) -> bool) -> bool {
        match &self.body {
            Body::Chain(layers) => any(layers, wanted),
            Body::Graph(graph) => graph.layers().any(wanted),
        }
    }

    /// Trains on the CPU, or on a GPU.
    pub fn run(&self, case: &Case, gpu: Option<&Gpu>) -> Result<Outputs> {
        let mut out = Outputs::default();
        let x0 = case.floats("x0")?;
        let trained = case.outputs.keys().any(|name| name != "eval");
        let drops = |op: &Op| matches!(op, Op::Dropout(dropout) if dropout.probability > 0.0);
        if trained && self.any(&drops) {
            return Err("dropout's masks are the library's own".into());
        }
        if case.outputs.contains_key("logits0") {
            let own = self.outputs()?.into_iter();
            let own = own
                .map(|name| Losses::own(&name))
                .next()
                .ok_or("no output")?;
            let mut trainer = self.start(own, case, gpu)?;
            put_outputs(&mut out, "logits0", trainer.forward(x0)?);
        }
        let mut trainer = self.start(self.losses()?, case, gpu)?;
        let names = trainer
            .model()
            .parameters()
            .map(|(name, _)| name.to_string());
        let names: Vec<String> = names.collect();
        let (mut totals, mut each) = (Vec::new(), vec![Vec::new(); self.losses.len()]);
        for step in 0..self.steps {
            let targets = self.losses.iter();
            let targets = targets.map(|loss| case.target(&format!("{}{step}", loss.target)));
            let targets: Vec<Target> = targets.collect::<std::result::Result<_, _>>()?;
            trainer.step(case.floats(&format!("x{step}"))?, targets)?;
            totals.push(trainer.loss()?);
            let losses = each.iter_mut().zip(trainer.losses()?);
            losses.for_each(|(all, (_, loss))| all.push(loss));
            for name in &names {
                if step == 0 && case.outputs.contains_key(&format!("grad0.{name}")) {
                    out.floats(format!("grad0.{name}"), trainer.gradient(name)?);
                }
                out.floats(format!("step{step}.{name}"), trainer.parameter(name)?);
            }
        }
        for name in &names {
            out.floats(format!("final.{name}"), trainer.parameter(name)?);
        }
        out.floats("losses", totals);
        for (loss, values) in self.losses.iter().zip(each) {
            if let Some(output) = &loss.output {
                out.floats(format!("losses.{output}"), values);
            }
        }
        put_outputs(&mut out, "eval", trainer.predict_all(x0)?);
        Ok(out)
    }

    fn model(&self) -> Result<Model> {
        let example = &self.input[1..];
        Ok(match &self.body {
            Body::Chain(layers) => push(Model::builder(example), layers).build()?,
            Body::Graph(graph) => graph.build(example)?,
        })
    }

    /// The names of the outputs.
    fn outputs(&self) -> Result<Vec<String>> {
        Ok(self.model()?.outputs().map(|(name, _)| name).collect())
    }

    fn losses(&self) -> Result<Losses> {
        let mut losses: Option<Losses> = None;
        for own in &self.losses {
            let output = match &own.output {
                Some(output) => output.clone(),
                None => self.outputs()?.swap_remove(0),
            };
            losses = Some(match losses {
                Some(losses) => losses.and(&output, own.loss.clone(), own.weight),
                None => Losses::of(&output, own.loss.clone(), own.weight),
            });
        }
        Ok(losses.ok_or("no loss")?)
    }

    /// The trainer with the case's weights.
    fn start(&self, losses: Losses, case: &Case, gpu: Option<&Gpu>) -> Result<Trainer> {
        let trainer = Trainer::builder(self.model()?).loss(losses);
        let trainer = self.groups.on(trainer).batch(self.input[0]);
        let mut trainer = match gpu {
            Some(gpu) => trainer.on(gpu)?,
            None => trainer.on_cpu()?,
        };
        for (name, array) in &case.inputs {
            if let Some(name) = name.strip_prefix("init.") {
                trainer.set_parameter(name, array.floats()?)?;
            }
        }
        Ok(trainer)
    }
}

/// The first output under this name, and others with their own behind it.
fn put_outputs(out: &mut Outputs, name: &str, outputs: Vec<(String, Vec<f32>)>) {
    for (at, (output, values)) in outputs.into_iter().enumerate() {
        match at {
            0 => out.floats(name, values),
            _ => out.floats(format!("{name}.{output}"), values),
        }
    }
}

fn read_loss<'a>(options: &Options<'a>, usual: &'a str) -> std::result::Result<Loss, String> {
    let name = options.text("loss", usual)?;
    layers::loss(name, options)?.ok_or(format!("unknown loss {name:?}"))
}

fn read_losses(options: &Options) -> std::result::Result<Vec<NetworkLoss>, String> {
    let losses = options.get("losses").and_then(Value::as_array);
    let losses = losses.ok_or("losses are missing")?.iter().map(|loss| {
        let mut keys = loss.as_object().ok_or("a loss is not an object")?.clone();
        // Elsewhere the key of weights for classes.
        let weight = keys.remove("weight").map_or(Some(1.0), |w| w.as_f64());
        let options = Options::new(&keys);
        let read = NetworkLoss {
            output: Some(options.text("output", "")?.into()),
            weight: weight.ok_or("the weight of a loss is no number")?,
            target: options.text("target", "t")?.into(),
            loss: read_loss(&options, "")?,
        };
        options.finish()?;
        Ok(read)
    });
    losses.collect()
}

fn read_layers(layers: Option<&Value>) -> std::result::Result<Vec<Layer>, String> {
    let Some(layers) = layers else {
        return Ok(Vec::new());
    };
    let layers = layers.as_array().ok_or("the layers are not a list")?;
    layers.iter().map(Layer::read).collect()
}

impl Layer {
    fn read(layer: &Value) -> std::result::Result<Self, String> {
        let options = Options::new(layer.as_object().ok_or("a layer is not an object")?);
        let layer = match options.text("op", "")? {
            "residual" => Self::Residual {
                body: read_layers(options.get("layers"))?,
                shortcut: read_layers(options.get("shortcut"))?,
            },
            name => Self::Op(of_network(layers::layer(name, &options)?)?),
        };
        options.finish()?;
        Ok(layer)
    }
}

/// A layer whose axes do not count the batch.
pub fn of_network(op: Op) -> std::result::Result<Op, String> {
    match op {
        Op::Softmax(Softmax { axis: 0, .. }) => Err("softmax along the batch".into()),
        Op::Softmax(softmax) if softmax.axis > 0 => Ok(softmax.axis(softmax.axis - 1).into()),
        op => Ok(op),
    }
}

fn push(builder: ModelBuilder, layers: &[Layer]) -> ModelBuilder {
    layers.iter().fold(builder, |builder, layer| match layer {
        Layer::Op(op) => builder.push(op.clone()),
        Layer::Residual { body, shortcut } => {
            builder.residual_with(|chain| push(chain, body), |chain| push(chain, shortcut))
        }
    })
}

/// Whether any layer is one that is looked for.
fn any(layers: &[Layer], wanted: &impl Fn(&Op) -> bool) -> bool {
    layers.iter().any(|layer| match layer {
        Layer::Op(op) => wanted(op),
        Layer::Residual { body, shortcut } => any(body, wanted) || any(shortcut, wanted),
    })
}
