//! A network as data, so that it can be printed, and made smaller where it fails.

use std::cell::RefCell;
use std::fmt;

use wgpu_cnn::engine::catalogue::Case;
use wgpu_cnn::op::{Add, Concat, Mul};
use wgpu_cnn::{Model, ModelBuilder, Op, Result, Shape};

/// A layer, or a block of layers.
#[derive(Debug, Clone)]
pub enum Layer {
    One(Op),
    Residual {
        body: Vec<Self>,
        shortcut: Vec<Self>,
    },
    /// Times what these layers make of it.
    Gate(Vec<Self>),
    Concat(Vec<Vec<Self>>),
}

/// A network.
#[derive(Debug, Clone)]
pub enum Network {
    Chain {
        input: Shape,
        layers: Vec<Layer>,
    },
    /// One of an operator's cases, in one of the models that the catalogue makes of it: for operators
    /// that take several inputs, whatever they are.
    Case {
        case: Box<Case>,
        model: Box<Model>,
    },
}

impl Network {
    /// The model, or why there is none.
    pub fn model(&self) -> Result<Model> {
        match self {
            Self::Chain { input, layers } => chain(Model::builder(input.clone()), layers).build(),
            Self::Case { model, .. } => Ok(Model::clone(model)),
        }
    }

    /// The names of its operators, those of blocks among them; of a case the one that it is about.
    pub fn operators(&self) -> Vec<&'static str> {
        match self {
            Self::Chain { layers, .. } => layers.iter().flat_map(Layer::operators).collect(),
            Self::Case { case, .. } => vec![case.op.name()],
        }
    }
}

impl Layer {
    fn operators(&self) -> Vec<&'static str> {
        let (join, chains): (Op, Vec<&Vec<Self>>) = match self {
            Self::One(op) => return vec![op.name()],
            Self::Residual { body, shortcut } => (Add.into(), vec![body, shortcut]),
            Self::Gate(gate) => (Mul.into(), vec![gate]),
            Self::Concat(branches) => (Concat.into(), branches.iter().collect()),
        };
        let layers = chains.into_iter().flatten();
        let mut operators: Vec<_> = layers.flat_map(Self::operators).collect();
        operators.push(join.name());
        operators
    }
}

/// Layers at the end of a builder.
pub fn chain(builder: ModelBuilder, layers: &[Layer]) -> ModelBuilder {
    layers.iter().fold(builder, |builder, layer| match layer {
        Layer::One(op) => builder.push(op.clone()),
        Layer::Residual { body, shortcut } => {
            builder.residual_with(|b| chain(b, body), |b| chain(b, shortcut))
        }
        Layer::Gate(gate) => builder.gate(|b| chain(b, gate)),
        Layer::Concat(branches) => concat(builder, branches),
    })
}

/// The shape of an example behind layers, where they fit.
pub fn shape_behind(input: &Shape, layers: &[Layer]) -> Result<Shape> {
    let model = chain(Model::builder(input.clone()), layers).build()?;
    Ok(model.output_shape().clone())
}

thread_local! {
    /// The branches that are still to be built, the next one last: `concat` takes functions, which hold
    /// no data.
    static BRANCHES: RefCell<Vec<Vec<Layer>>> = const { RefCell::new(Vec::new()) };
}

/// The largest number of branches.
pub const MOST_BRANCHES: usize = 4;

fn concat(builder: ModelBuilder, branches: &[Vec<Layer>]) -> ModelBuilder {
    fn next(builder: ModelBuilder) -> ModelBuilder {
        let layers = BRANCHES.with_borrow_mut(Vec::pop).unwrap_or_default();
        chain(builder, &layers)
    }
    BRANCHES.with_borrow_mut(|waiting| waiting.extend(branches.iter().rev().cloned()));
    match branches.len() {
        1 => builder.concat([next; 1]),
        2 => builder.concat([next; 2]),
        3 => builder.concat([next; 3]),
        _ => builder.concat([next; MOST_BRANCHES]),
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Chain { input, layers } => {
                writeln!(f, "  input {input}")?;
                write_layers(f, layers, 1)
            }
            Self::Case { case, model } => {
                let (operator, name) = (case.op.name(), case.name);
                writeln!(
                    f,
                    "  the case {name:?} of {operator}: {:?} on {:?}, batch {}",
                    case.op, case.inputs, case.batch
                )?;
                let input = model.input_shape();
                let parameters: Vec<_> = model.parameters().collect();
                writeln!(f, "  in a model of {input} with {parameters:?}")
            }
        }
    }
}

fn write_layers(f: &mut fmt::Formatter<'_>, layers: &[Layer], depth: usize) -> fmt::Result {
    let indent = "  ".repeat(depth);
    for layer in layers {
        match layer {
            Layer::One(op) => writeln!(f, "{indent}{op:?}")?,
            Layer::Residual { body, shortcut } => {
                writeln!(f, "{indent}residual, the body:")?;
                write_layers(f, body, depth + 1)?;
                if !shortcut.is_empty() {
                    writeln!(f, "{indent}the shortcut:")?;
                    write_layers(f, shortcut, depth + 1)?;
                }
            }
            Layer::Gate(gate) => {
                writeln!(f, "{indent}a gate:")?;
                write_layers(f, gate, depth + 1)?;
            }
            Layer::Concat(branches) => {
                for branch in branches {
                    writeln!(f, "{indent}concat, a branch:")?;
                    write_layers(f, branch, depth + 1)?;
                }
            }
        }
    }
    Ok(())
}
