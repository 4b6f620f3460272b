//! What changes a graph otherwise than by adding to it.

use super::{Graph, Parameter, ParameterId, ValueId};
use crate::op::{Bytes, Op, ParameterKind};
use crate::{Error, Result, Shape};

/// How far a graph had come.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mark {
    values: usize,
    inputs: usize,
    constants: usize,
    nodes: usize,
    parameters: usize,
    edits: usize,
}

impl Graph {
    /// How far it has come.
    pub fn mark(&self) -> Mark {
        Mark {
            values: self.shapes.len(),
            inputs: self.inputs.len(),
            constants: self.constants.len(),
            nodes: self.nodes.len(),
            parameters: self.parameters.len(),
            edits: self.making.edits.len(),
        }
    }

    /// Makes it what it was at a mark.
    pub fn roll_back(&mut self, mark: Mark) {
        let constants = self.constants.drain(mark.constants..).map(|c| c.name);
        let nodes = self.nodes.drain(mark.nodes..).map(|n| n.name);
        let parameters = self.parameters.drain(mark.parameters..).map(|p| p.name);
        for name in constants.chain(nodes).chain(parameters) {
            self.names.remove(&name);
        }
        for (id, before) in self.making.edits.drain(mark.edits..).rev() {
            if let Some(parameter) = self.parameters.get_mut(id.0) {
                self.names.remove(&parameter.name);
                self.names.insert(before.name.clone());
                *parameter = before;
            }
        }
        self.shapes.truncate(mark.values);
        self.inputs.truncate(mark.inputs);
        self.making.numbers.clear();
    }

    /// Gives a parameter another name, and a shape of as many elements.
    pub fn rename(&mut self, id: ParameterId, name: &str, shape: Shape) -> Result<()> {
        let old = self.parameter(id).name.clone();
        if self.parameter(id).shape.len() != shape.len() {
            let len = shape.len();
            return Err(Error::length(
                &format!("parameter {old:?}"),
                &self.parameter(id).shape,
                len,
            ));
        }
        if name != old {
            self.take_name(name)?;
            self.names.remove(&old);
            self.making.numbers.clear();
        }
        self.making.edits.push((id, self.parameter(id).clone()));
        let parameter = &mut self.parameters[id.0];
        (parameter.name, parameter.shape) = (name.into(), shape);
        Ok(())
    }

    /// Has the batch normalisations one of whose statistics is meant evaluate in training too, or not. Gives
    /// how many there are.
    pub fn freeze_statistics(&mut self, meant: impl Fn(&Parameter) -> bool, frozen: bool) -> usize {
        let parameters = &self.parameters;
        let meant = |id: &ParameterId| {
            let parameter = &parameters[id.0];
            parameter.is_statistic() && meant(parameter)
        };
        let mut count = 0;
        for node in &mut self.nodes {
            if let Op::BatchNorm(norm) = &mut node.op
                && node.parameters.iter().any(meant)
            {
                norm.frozen = frozen;
                count += 1;
            }
        }
        count
    }

    /// Has an input, by its name, be given as bytes that stand for these numbers.
    pub fn take_bytes(&mut self, name: &str, mean: &[f32], deviation: &[f32]) -> Result<()> {
        let inputs = self.inputs.iter().copied();
        let found = inputs.clone().find(|&input| self.value_name(input) == name);
        let Some(input) = found else {
            let names: Vec<String> = inputs.map(|input| self.value_name(input)).collect();
            let reason = format!("the model takes {names:?}");
            return Err(Error::argument(format!("input {name:?}"), reason));
        };
        let bytes = Bytes::new(self.shape(input), mean, deviation)?;
        self.bytes.retain(|(other, _)| *other != input);
        self.bytes.push((input, bytes));
        Ok(())
    }

    /// What the bytes of an input stand for, where it is given as bytes.
    pub fn bytes(&self, input: ValueId) -> Option<&Bytes> {
        let found = self.bytes.iter().find(|(other, _)| *other == input);
        found.map(|(_, bytes)| bytes)
    }

    /// Makes a parameter part of the model: it has these values, and is not learned.
    pub fn fix(&mut self, id: ParameterId, values: Vec<f32>) -> Result<()> {
        let parameter = &mut self.parameters[id.0];
        if parameter.shape.len() != values.len() {
            let what = format!("parameter {:?}", parameter.name);
            return Err(Error::length(&what, &parameter.shape, values.len()));
        }
        if parameter.spec.kind == ParameterKind::Statistic {
            let reason = "is a running statistic, which training changes";
            return Err(Error::argument(
                format!("parameter {:?}", parameter.name),
                reason,
            ));
        }
        self.making.edits.push((id, parameter.clone()));
        parameter.spec.kind = ParameterKind::Constant;
        parameter.values = Some(values.into());
        Ok(())
    }
}
