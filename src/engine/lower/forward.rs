//! The forward pass, operator by operator.

use super::{Lowered, Pass, internal, layer};
use crate::Result;
use crate::gpu::kernels::concat::{Block, copy};
use crate::gpu::kernels::{Output, activation, conv2d, dropout, matmul, norm, pool2d, softmax};
use crate::gpu::record::Region;
use crate::model::{Node, ParameterId};
use crate::op::{GlobalPool, Op};

impl Pass<'_> {
    /// Records the operators in order. The model's output goes to `destination`, or to a buffer of
    /// its own.
    pub(super) fn forward(
        &mut self,
        lowered: &mut Lowered,
        destination: Option<Region>,
    ) -> Result<()> {
        let graph = self.graph();
        self.values[graph.input().0] = Some(lowered.input);
        let output = self.fusion.root(graph.output());
        for node in graph.nodes() {
            if node.op.is_view() {
                continue;
            }
            let written = self.fusion.written(node.output);
            if self.values[written.0].is_some() {
                continue; // a view, or an activation that the product before it has applied
            }
            lowered.recording.set_label(node.label());
            if matches!(node.op, Op::Dropout(_)) && !self.training {
                self.values[written.0] = Some(self.value(node.inputs[0])?);
                continue;
            }
            let region = match destination {
                Some(region) if written == output => region,
                _ => self.new_value(&mut lowered.recording, &node.name, written),
            };
            self.values[written.0] = Some(region);
            let activation = self.fusion.activation(written);
            self.forward_node(
                lowered,
                node,
                Output {
                    activation,
                    ..region.into()
                },
            )?;
        }
        // A model that ends in what does nothing in evaluation still has to write its output.
        let value = self.value(output)?;
        if let Some(destination) = destination.filter(|destination| *destination != value) {
            activation::forward(
                &mut lowered.recording,
                self.len(output),
                value,
                destination.into(),
            );
        }
        Ok(())
    }

    pub(super) fn forward_node(
        &mut self,
        lowered: &mut Lowered,
        node: &Node,
        output: Output,
    ) -> Result<()> {
        let input = self.value(node.inputs[0])?;
        let shape = self.graph().shape(node.inputs[0]);
        let parameter = |id: Option<ParameterId>| id.map(|id| lowered.parameter(id)).transpose();
        let bias = parameter(node.bias())?;
        let weight = match node.weight() {
            Some(id) if node.op.is_product() => Some(lowered.weight(id)?),
            id => parameter(id)?,
        };
        let weight_of = || weight.ok_or_else(|| internal("a layer has no weight"));
        let bias_of = || bias.ok_or_else(|| internal("a normalisation has no bias"));
        let running = match node.statistics() {
            Some([mean, variance]) => {
                Some([lowered.parameter(mean)?, lowered.parameter(variance)?])
            }
            None => None,
        };
        let (len, region) = (self.len(node.output), output.region);
        let recording = &mut lowered.recording;
        match &node.op {
            Op::Conv2d(op) => {
                let geometry = op.geometry(self.batch, shape)?;
                conv2d::forward(recording, &geometry, [input, weight_of()?], bias, output);
            }
            Op::ConvTranspose2d(op) => {
                let geometry = op.geometry(self.batch, shape)?;
                conv2d::backward_input(recording, &geometry, [input, weight_of()?], bias, output);
            }
            Op::Linear(op) => {
                let geometry = op.geometry(self.batch, shape)?;
                matmul::linear_forward(recording, &geometry, [input, weight_of()?], bias, output);
            }
            Op::MaxPool2d(_) | Op::GlobalPool(GlobalPool::Max) => {
                let geometry = match &node.op {
                    Op::MaxPool2d(op) => op.geometry(self.batch, shape)?,
                    _ => GlobalPool::Max.geometry(self.batch, shape)?,
                };
                let argmax = recording.transient("argmax", self.planned_len(node.output));
                self.kept[node.output.0] = Some(argmax);
                pool2d::max_forward(recording, &geometry, input, output, argmax);
            }
            Op::AvgPool2d(op) => {
                let geometry = op.geometry(self.batch, shape)?;
                pool2d::avg_forward(recording, &geometry, op.count_include_pad, input, region);
            }
            Op::GlobalPool(GlobalPool::Average) => {
                let geometry = GlobalPool::Average.geometry(self.batch, shape)?;
                pool2d::avg_forward(recording, &geometry, true, input, region);
            }
            Op::GlobalPool(GlobalPool::Softmax) => {
                let geometry = GlobalPool::Softmax.geometry(self.batch, shape)?;
                let kept = recording.transient("softmax", 2 * self.planned_len(node.output));
                self.kept[node.output.0] = Some(kept);
                pool2d::softmax_forward(recording, &geometry, input, [region, kept]);
            }
            Op::Activation(op) => {
                let output = Output {
                    activation: Some(*op),
                    ..output
                };
                activation::forward(recording, len, input, output);
            }
            Op::Softmax(op) => {
                let geometry = op.geometry(self.batch, shape)?;
                softmax::forward(recording, op.log, &geometry, input, region);
            }
            Op::BatchNorm(op) => {
                let geometry = op.geometry(self.batch, shape)?;
                let inputs = [input, weight_of()?, bias_of()?];
                let [mean, variance] =
                    running.ok_or_else(|| internal("a normalisation has no statistics"))?;
                if self.training {
                    let kept = recording.transient("statistics", 2 * geometry.channels);
                    self.kept[node.output.0] = Some(kept);
                    let statistics = [kept, mean, variance];
                    norm::batch_forward(recording, op, &geometry, inputs, statistics, output);
                } else {
                    let running = [mean, variance];
                    norm::batch_forward_evaluation(
                        recording, op, &geometry, inputs, running, output,
                    );
                }
            }
            Op::LayerNorm(op) => {
                let kept = recording.transient("statistics", 2 * self.task.planned_batch);
                self.kept[node.output.0] = Some(kept);
                let (extents, outputs) = ([self.batch, shape.len()], [kept, region]);
                let inputs = [input, weight_of()?, bias_of()?];
                norm::layer_forward(recording, op.epsilon, extents, inputs, outputs);
            }
            Op::Dropout(probability) => {
                dropout::dropout(recording, *probability, layer(node), len, input, output);
            }
            Op::Add => {
                let inputs = [input, self.value(node.inputs[1])?];
                activation::add(recording, len, inputs, output);
            }
            Op::Concat => {
                for (source, whole, block) in self.blocks(node) {
                    let extents = [self.batch, block.stride];
                    let to = (
                        output,
                        Block {
                            stride: whole,
                            ..block
                        },
                    );
                    let from = (self.value(source)?, Block { offset: 0, ..block });
                    copy(recording, extents, from, to);
                }
            }
            Op::Flatten | Op::Reshape(_) => {}
        }
        Ok(())
    }
}
