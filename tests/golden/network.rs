//! Whole networks, trained for some steps on the CPU reference or on a GPU.

use serde_json::{Map, Value};
use wgpu_cnn::{
    Gpu, Linear, Loss, Model, ModelBuilder, Op, Optimizer, Shape, Softmax, Target, Trainer,
    TrainerBuilder,
};

use crate::Result;
use crate::format::{Case, Outputs};
use crate::layers;
use crate::options::{Options, extent};

pub struct Network {
    /// `(N, ...)`.
    input: Shape,
    layers: Vec<Layer>,
    loss: Loss,
    optimizer: Optimizer,
    steps: usize,
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
        let none = Map::new();
        let hyper = options
            .get("hyper")
            .and_then(Value::as_object)
            .unwrap_or(&none);
        let hyper = Options::new(hyper);
        let class = options.text("optimizer", "SGD")?;
        let optimizer = layers::optimizer(class, &hyper)?;
        hyper.finish()?;
        let name = options.text("loss", "mse_loss")?;
        let loss = layers::loss(name, options)?;
        Ok(Self {
            input: input.into(),
            layers: read_layers(options.get("layers"))?,
            loss: loss.ok_or(format!("unknown loss {name:?}"))?,
            optimizer: optimizer.ok_or(format!("unknown optimizer {class:?}"))?,
            steps: options.extent("steps", 0)?,
        })
    }

    pub fn is_transcendental(&self) -> bool {
        !matches!(self.loss, Loss::MeanSquaredError(_))
            || any(&self.layers, &layers::is_transcendental)
    }

    /// Trains on the CPU, or on a GPU.
    pub fn run(&self, case: &Case, gpu: Option<&Gpu>) -> Result<Outputs> {
        let mut out = Outputs::default();
        let x0 = case.floats("x0")?;
        let trained = case.outputs.keys().any(|name| name != "eval");
        if trained
            && any(
                &self.layers,
                &|op| matches!(op, Op::Dropout(dropout) if dropout.probability > 0.0),
            )
        {
            return Err("dropout's masks are the library's own".into());
        }
        if case.outputs.contains_key("logits0") {
            out.floats("logits0", self.training_outputs(case, gpu, x0)?);
        }
        let model = self.builder().build()?;
        let trainer = Trainer::builder(model)
            .loss(self.loss.clone())
            .optimizer(self.optimizer);
        let mut trainer = self.start(trainer, case, gpu)?;
        let names = trainer
            .model()
            .parameters()
            .map(|(name, _)| name.to_string());
        let names: Vec<String> = names.collect();
        let mut losses = Vec::new();
        for step in 0..self.steps {
            let target = case.target(&format!("t{step}"))?;
            trainer.step(case.floats(&format!("x{step}"))?, target)?;
            losses.push(trainer.loss()?);
            for name in &names {
                if step == 0 && !(name.contains("running_") || name.contains("num_batches_")) {
                    out.floats(format!("grad0.{name}"), trainer.gradient(name)?);
                }
                out.floats(format!("step{step}.{name}"), trainer.parameter(name)?);
            }
        }
        for name in &names {
            out.floats(format!("final.{name}"), trainer.parameter(name)?);
        }
        out.floats("losses", losses);
        out.floats("eval", trainer.predict(x0)?);
        Ok(out)
    }

    fn builder(&self) -> ModelBuilder {
        push(Model::builder(&self.input[1..]), &self.layers)
    }

    /// The trainer with the case's weights.
    fn start(&self, trainer: TrainerBuilder, case: &Case, gpu: Option<&Gpu>) -> Result<Trainer> {
        let trainer = trainer.batch(self.input[0]);
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

    /// The network's outputs in training, where a batch normalisation takes the batch's statistics.
    ///
    /// A training step does not give them, so a dense layer of two outputs with zero weights follows
    /// the network: for a single counted label 0, the gradient of its second row is half the
    /// network's output, exactly.
    fn training_outputs(&self, case: &Case, gpu: Option<&Gpu>, x: &[f32]) -> Result<Vec<f32>> {
        let name = self.layers.len() + 1;
        let model = self.builder().flatten().push(Linear::new(2)).build()?;
        let loss = Loss::cross_entropy().ignored_label(-100);
        let trainer = Trainer::builder(model)
            .loss(loss)
            .optimizer(Optimizer::sgd(0.0));
        let mut trainer = self.start(trainer, case, gpu)?;
        let weight = format!("{name}.weight");
        let len = trainer.parameter(&weight)?.len();
        trainer.set_parameter(&weight, &vec![0.0; len])?;
        trainer.set_parameter(&format!("{name}.bias"), &[0.0; 2])?;
        let mut outputs = Vec::new();
        for counted in 0..self.input[0] {
            let mut labels = vec![-100; self.input[0]];
            labels[counted] = 0;
            trainer.step(x, Target::from(&labels))?;
            let gradient = trainer.gradient(&weight)?;
            outputs.extend(gradient[len / 2..].iter().map(|half| 2.0 * half));
        }
        Ok(outputs)
    }
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
            name => match layers::layer(name, &options)? {
                // The layer's axis does not count the batch.
                Op::Softmax(Softmax { axis: 0, .. }) => {
                    return Err("softmax along the batch".into());
                }
                Op::Softmax(softmax) if softmax.axis > 0 => {
                    Self::Op(softmax.axis(softmax.axis - 1).into())
                }
                op => Self::Op(op),
            },
        };
        options.finish()?;
        Ok(layer)
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
