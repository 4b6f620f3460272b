//! Predictions.

use super::walk::{Tape, Walk};
use crate::Result;
use crate::cpu::Real;
use crate::model::{Graph, Inputs};

/// All outputs in evaluation. A value's memory is given back once nothing reads it any more.
pub(in crate::engine) fn predict<T: Real>(
    graph: &Graph,
    parameters: &[Vec<T>],
    inputs: &Inputs<T>,
) -> Result<Vec<Vec<T>>> {
    let mut tape = Tape::default();
    let walk = Walk {
        graph,
        parameters,
        batch: inputs.examples(graph)?,
        training: None,
    };
    tape.forward_alone(walk, inputs.slices())?;
    let outputs = graph.outputs().iter();
    Ok(outputs
        .map(|output| std::mem::take(&mut tape.values[output.0]))
        .collect())
}
