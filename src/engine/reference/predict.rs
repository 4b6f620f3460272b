//! Predictions.

use std::borrow::Cow;

use super::Rules;
use super::walk::{Tape, Walk};
use crate::Result;
use crate::cpu::{self, Real};
use crate::model::{Graph, Input, Inputs};

/// The numbers of each input: what bytes stand for, where it is given as bytes. The inputs have been checked.
pub(super) fn numbers<'a, T: Real>(graph: &Graph, inputs: &Inputs<'a, T>) -> Vec<Cow<'a, [T]>> {
    let inputs = graph.inputs().iter().zip(inputs.list());
    let numbers = inputs.map(|(&value, input)| match (input, graph.bytes(value)) {
        (Input::Numbers(numbers), _) => Cow::Borrowed(*numbers),
        (Input::Bytes(_), None) => Cow::default(),
        (Input::Bytes(bytes), Some(of)) => {
            cpu::bytes_to_numbers(of, graph.shape(value).len(), bytes).into()
        }
    });
    numbers.collect()
}

/// All outputs in evaluation. A value's memory is given back once nothing reads it any more.
pub(in crate::engine) fn predict<T: Real>(
    rules: Rules<T>,
    graph: &Graph,
    parameters: &[Vec<T>],
    inputs: &Inputs<T>,
    direct_only: bool,
) -> Result<Vec<Vec<T>>> {
    let mut tape = Tape::default();
    let walk = Walk {
        rules,
        graph,
        parameters,
        batch: inputs.examples(graph)?,
        training: None,
        folds_later: false,
        direct_only,
    };
    tape.forward_alone(walk, &numbers(graph, inputs))?;
    let outputs = graph.outputs().iter();
    Ok(outputs
        .map(|output| std::mem::take(&mut tape.values[output.0]))
        .collect())
}
