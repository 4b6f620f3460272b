//! The loss and the backward pass, operator by operator.

use super::{Lowered, Pass, internal, layer};
use crate::gpu::kernels::concat::{Block, copy};
use crate::gpu::kernels::{Output, activation, conv2d, dropout, loss, matmul, norm, pool2d};
use crate::gpu::kernels::{reduce, softmax};
use crate::gpu::record::Region;
use crate::model::{Node, ParameterId, ValueId};
use crate::op::{GlobalPool, Op};
use crate::{Error, Result};

impl Pass<'_> {
    /// Records the loss and its gradient with respect to the model's output, which it gives.
    pub(super) fn loss(&mut self, lowered: &mut Lowered) -> Result<Region> {
        let graph = self.graph();
        let output = self.fusion.root(graph.output());
        lowered.recording.set_label("loss");
        let gradient = lowered
            .recording
            .transient("output gradient", self.planned_len(output));
        let shape = self.task.model.output_shape();
        let geometry = self.task.loss.geometry(self.batch, shape)?;
        let planned = self.task.loss.geometry(self.task.planned_batch, shape)?;
        let targets = loss::Targets {
            labels: lowered.labels,
            values: lowered.values,
            class_weights: lowered.class_weights,
        };
        let (value, results) = (self.value(output)?, [lowered.loss, gradient]);
        let recording = &mut lowered.recording;
        loss::loss(
            recording,
            self.task.loss,
            [&geometry, &planned],
            value,
            targets,
            results,
        );
        self.gradients[output.0] = Some(gradient);
        Ok(gradient)
    }

    /// Records the loss and then every operator's gradients, last operator first.
    pub(super) fn backward(&mut self, lowered: &mut Lowered) -> Result<()> {
        self.loss(lowered)?;
        let graph = self.graph();
        for node in graph.nodes().iter().rev() {
            let written = self.fusion.written(node.output);
            let part_of_another = self.fusion.activation(node.output).is_some();
            if node.op.is_view() || part_of_another {
                continue;
            }
            if let Some(gradient) = self.gradients[written.0] {
                lowered.recording.set_label(node.label());
                self.backward_node(lowered, node, gradient)?;
            }
        }
        Ok(())
    }

    pub(super) fn backward_node(
        &mut self,
        lowered: &mut Lowered,
        node: &Node,
        gradient: Region,
    ) -> Result<()> {
        let source = node.inputs[0];
        let input = self.value(source)?;
        let shape = self.graph().shape(source);
        let of = |id: Option<ParameterId>| match id {
            Some(id) => {
                let value = match node.op.is_product() {
                    true => lowered.weight(id)?,
                    false => lowered.parameter(id)?,
                };
                Ok(Some((value, lowered.gradient(id)?)))
            }
            None => Ok::<_, Error>(None),
        };
        let (weight, bias) = (of(node.weight())?, of(node.bias())?);
        let weight_of = || weight.ok_or_else(|| internal("a layer has no weight"));
        let bias_of = || bias.ok_or_else(|| internal("a normalisation has no bias"));
        match &node.op {
            Op::Conv2d(op) => {
                let geometry = op.geometry(self.batch, shape)?;
                let (weight, to) = weight_of()?;
                let recording = &mut lowered.recording;
                conv2d::backward_weight(recording, &geometry, [input, gradient], to);
                if let Some((_, to)) = bias {
                    let extents = [
                        geometry.batch,
                        geometry.out_channels,
                        geometry.out_size.area(),
                    ];
                    reduce::bias_gradient(recording, extents, gradient, to);
                }
                if let Some(to) = self.gradient(lowered, source)? {
                    let recording = &mut lowered.recording;
                    conv2d::backward_input(recording, &geometry, [gradient, weight], None, to);
                }
            }
            Op::ConvTranspose2d(op) => {
                // The convolution whose transpose this is takes this layer's output gradient to its
                // input gradient.
                let geometry = op.geometry(self.batch, shape)?;
                let (weight, to) = weight_of()?;
                let recording = &mut lowered.recording;
                conv2d::backward_weight(recording, &geometry, [gradient, input], to);
                if let Some((_, to)) = bias {
                    let extents = [
                        geometry.batch,
                        geometry.in_channels,
                        geometry.in_size.area(),
                    ];
                    reduce::bias_gradient(recording, extents, gradient, to);
                }
                if let Some(to) = self.gradient(lowered, source)? {
                    let recording = &mut lowered.recording;
                    conv2d::forward(recording, &geometry, [gradient, weight], None, to);
                }
            }
            Op::Linear(op) => {
                let geometry = op.geometry(self.batch, shape)?;
                let (weight, to) = weight_of()?;
                let recording = &mut lowered.recording;
                matmul::linear_backward_weight(recording, &geometry, [input, gradient], to);
                if let Some((_, to)) = bias {
                    let extents = [geometry.rows, geometry.out_features, 1];
                    reduce::bias_gradient(recording, extents, gradient, to);
                }
                if let Some(to) = self.gradient(lowered, source)? {
                    let recording = &mut lowered.recording;
                    matmul::linear_backward_input(recording, &geometry, [gradient, weight], to);
                }
            }
            Op::BatchNorm(op) => {
                let geometry = op.geometry(self.batch, shape)?;
                let ((gamma, to_gamma), (_, to_beta)) = (weight_of()?, bias_of()?);
                let inputs = [input, gradient, self.kept(node)?, gamma];
                let to = self.gradient(lowered, source)?;
                let recording = &mut lowered.recording;
                norm::batch_backward(recording, &geometry, inputs, [to_gamma, to_beta], to);
            }
            Op::LayerNorm(_) => {
                let ((gamma, to_gamma), (_, to_beta)) = (weight_of()?, bias_of()?);
                let inputs = [input, gradient, self.kept(node)?, gamma];
                let extents = [self.batch, shape.len()];
                let to = self.gradient(lowered, source)?;
                let recording = &mut lowered.recording;
                norm::layer_backward(recording, extents, inputs, [to_gamma, to_beta], to);
            }
            Op::Concat => {
                for (source, whole, block) in self.blocks(node) {
                    if let Some(to) = self.gradient(lowered, source)? {
                        let extents = [self.batch, block.stride];
                        let from = (
                            gradient,
                            Block {
                                stride: whole,
                                ..block
                            },
                        );
                        let to = (to, Block { offset: 0, ..block });
                        copy(&mut lowered.recording, extents, from, to);
                    }
                }
            }
            Op::Add => {
                let heir = self.heir(node);
                for &source in &node.inputs {
                    if Some(self.fusion.root(source)) == heir {
                        continue;
                    }
                    if let Some(to) = self.gradient(lowered, source)? {
                        let len = self.len(node.output);
                        activation::forward(&mut lowered.recording, len, gradient, to);
                    }
                }
                if let Some(heir) = heir {
                    self.gradients[heir.0] = Some(gradient);
                }
            }
            _ => {
                if let Some(to) = self.gradient(lowered, source)? {
                    self.backward_unparametrised(lowered, node, gradient, to)?;
                }
            }
        }
        Ok(())
    }

    /// The input gradient of an operator with one input and nothing to learn.
    fn backward_unparametrised(
        &self,
        lowered: &mut Lowered,
        node: &Node,
        gradient: Region,
        to: Output,
    ) -> Result<()> {
        let input = self.value(node.inputs[0])?;
        let shape = self.graph().shape(node.inputs[0]);
        let (batch, len) = (self.batch, self.len(node.output));
        let recording = &mut lowered.recording;
        match &node.op {
            Op::MaxPool2d(op) => {
                let geometry = op.geometry(batch, shape)?;
                pool2d::max_backward(recording, &geometry, [gradient, self.kept(node)?], to);
            }
            Op::GlobalPool(GlobalPool::Max) => {
                let geometry = GlobalPool::Max.geometry(batch, shape)?;
                pool2d::max_backward(recording, &geometry, [gradient, self.kept(node)?], to);
            }
            Op::AvgPool2d(op) => {
                let geometry = op.geometry(batch, shape)?;
                pool2d::avg_backward(recording, &geometry, op.count_include_pad, gradient, to);
            }
            Op::GlobalPool(GlobalPool::Average) => {
                let geometry = GlobalPool::Average.geometry(batch, shape)?;
                pool2d::avg_backward(recording, &geometry, true, gradient, to);
            }
            Op::GlobalPool(GlobalPool::Softmax) => {
                let geometry = GlobalPool::Softmax.geometry(batch, shape)?;
                let read = [input, self.value(node.output)?, self.kept(node)?, gradient];
                pool2d::softmax_backward(recording, &geometry, read, to);
            }
            Op::Activation(op) => {
                let source = match op.gradient_from_value() {
                    true => self.value(node.output)?,
                    false => input,
                };
                activation::backward(recording, *op, len, [source, gradient], to);
            }
            Op::Softmax(op) => {
                let geometry = op.geometry(batch, shape)?;
                let read = [self.value(node.output)?, gradient];
                softmax::backward(recording, op.log, &geometry, read, to);
            }
            Op::Dropout(probability) => {
                dropout::dropout(recording, *probability, layer(node), len, gradient, to);
            }
            _ => return Err(internal("an operator has no gradient")),
        }
        Ok(())
    }

    /// The input of a sum that can take over the buffer of the sum's gradient, which is its own: the
    /// first to be told of its gradient, where that needs no change.
    fn heir(&self, node: &Node) -> Option<ValueId> {
        let roots: Vec<_> = node.inputs.iter().map(|&i| self.fusion.root(i)).collect();
        let alone = |root: &&ValueId| roots.iter().filter(|other| other == root).count() == 1;
        let fits = |root: &&ValueId| {
            self.fusion.learns(**root)
                && self.fusion.activation(**root).is_none()
                && self.gradients[root.0].is_none()
        };
        roots.iter().filter(alone).find(fits).copied()
    }

    /// Where a value's gradient goes, if anything before it learns. The first to ask writes, the
    /// others add.
    fn gradient(&mut self, lowered: &mut Lowered, value: ValueId) -> Result<Option<Output>> {
        let root = self.fusion.root(value);
        if !self.fusion.learns(root) {
            return Ok(None);
        }
        let gradient_of = match self.fusion.activation(root) {
            Some(activation) => Some((activation, self.value(root)?)),
            None => None,
        };
        let existing = self.gradients[root.0];
        let region = existing.unwrap_or_else(|| {
            let label = format!("gradient of value {}", root.0);
            lowered.recording.transient(label, self.planned_len(root))
        });
        self.gradients[root.0] = Some(region);
        let accumulate = existing.is_some();
        Ok(Some(Output {
            gradient_of,
            accumulate,
            ..region.into()
        }))
    }
}
