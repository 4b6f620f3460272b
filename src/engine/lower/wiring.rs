//! Whether the places that a recording's parts were given are those that the graph says: who reads which
//! value, which parameter, and what happens to a gradient on its way. Told anew, without the walks that
//! recorded it.

use super::{Fusion, Lowered, Task};
use crate::Result;
use crate::engine::operators::{Forward, Mode, Pieces, Site, kernels};
use crate::gpu::record::Region;
use crate::model::Node;
use crate::op::Activation;

/// What is wrong: the layer, and how.
type Fault = (String, &'static str);

struct Wiring<'a> {
    task: &'a Task<'a>,
    fusion: &'a Fusion,
    lowered: &'a Lowered,
    /// Where each value lies in training.
    values: Vec<Option<Region>>,
    /// Where the argument of the activation lies that made it, if it is kept.
    arguments: Vec<Option<Region>>,
    faults: Vec<Fault>,
}

/// Everything that is wrong with a recording's places.
pub(in crate::engine) fn wiring_faults(
    task: &Task,
    fusion: &Fusion,
    lowered: &Lowered,
) -> Result<Vec<Fault>> {
    let values = vec![None; task.model.graph.values().count()];
    let mut wiring = Wiring {
        task,
        fusion,
        lowered,
        arguments: values.clone(),
        values,
        faults: vec![],
    };
    wiring.forward(Mode::Evaluation)?;
    for (at, &output) in task.model.graph.outputs().iter().enumerate() {
        let (value, place) = (wiring.values[fusion.root(output).0], lowered.outputs[at]);
        let written = match &lowered.copies[at] {
            Some(copy) => {
                let (from, to) = (copy.places.inputs.first(), copy.places.output.region);
                from.copied() == value && to == place
            }
            None => value == Some(place),
        };
        wiring.fault("output", written, "does not reach its place in evaluation");
    }
    wiring.values.fill(None);
    wiring.forward(Mode::Training)?;
    for (&output, &trained) in task.model.graph.outputs().iter().zip(&lowered.trained) {
        let given = wiring.values[fusion.root(output).0] == Some(trained);
        wiring.fault("output", given, "is another value than its layer's");
    }
    for (loss, parts) in task.losses.iter().zip(&lowered.losses) {
        let read = parts.logits[0] == lowered.trained[loss.output];
        wiring.fault("loss", read, "reads another value than the output");
    }
    wiring.backward()?;
    Ok(wiring.faults)
}

impl Wiring<'_> {
    fn fault(&mut self, layer: &str, holds: bool, otherwise: &'static str) {
        if !holds {
            self.faults.push((layer.into(), otherwise));
        }
    }

    fn hold(&mut self, node: &Node, holds: bool, otherwise: &'static str) {
        self.fault(&node.label(), holds, otherwise);
    }

    fn is_recorded(&self, node: &Node) -> bool {
        !node.op.definition().is_view() && !self.fusion.is_part_of_another(node.output)
    }

    /// Where a node's inputs lie.
    fn inputs(&self, node: &Node) -> Vec<Option<Region>> {
        let roots = node.inputs.iter().map(|&input| self.fusion.root(input));
        roots.map(|root| self.values[root.0]).collect()
    }

    /// Whether these places are a node's parameters, as its kernels read them.
    fn are_parameters(&self, node: &Node, pieces: &[Pieces], mode: Mode) -> Result<bool> {
        let (graph, mut same) = (
            &self.task.model.graph,
            pieces.len() == node.parameters.len(),
        );
        for (at, (&id, pieces)) in node.parameters.iter().zip(pieces).enumerate() {
            let own = self.lowered.read_by(node, at, id)?;
            same &= *pieces
                == match mode.of(node) {
                    Mode::Training => self.lowered.in_training(graph, node, id, own),
                    Mode::Evaluation => own,
                };
        }
        Ok(same)
    }

    fn forward(&mut self, mode: Mode) -> Result<()> {
        let (graph, lowered) = (&self.task.model.graph, self.lowered);
        let numbers = lowered.numbers_of_inputs(mode);
        for (input, region) in graph.inputs().iter().zip(numbers) {
            self.values[input.0] = Some(region);
        }
        for (constant, &region) in graph.constants().iter().zip(&lowered.constants) {
            self.values[constant.value.0] = Some(region);
        }
        for (node, parts) in graph.nodes().iter().zip(&lowered.nodes) {
            if !self.is_recorded(node) {
                continue;
            }
            let written = self.fusion.written(node.output);
            let part = match mode {
                Mode::Training => &parts.forward,
                Mode::Evaluation => &parts.predict,
            };
            let inputs = self.inputs(node);
            self.values[written.0] = match part {
                Some(part) => {
                    self.hold(node, part.mode == mode.of(node), "computes in another mode");
                    self.node_forward((node, mode), &part.places, &inputs)?;
                    self.arguments[written.0] = part.places.output.argument;
                    let region = part.places.output.region;
                    let own = !self.values.contains(&Some(region));
                    self.hold(node, own, "writes over another value");
                    self.values[node.output.0] = Some(region);
                    Some(region)
                }
                None => inputs.first().copied().flatten(),
            };
        }
        Ok(())
    }

    fn node_forward(
        &mut self,
        (node, mode): (&Node, Mode),
        places: &Forward,
        inputs: &[Option<Region>],
    ) -> Result<()> {
        let read: Vec<_> = places.inputs.iter().copied().map(Some).collect();
        self.hold(node, read == inputs, "reads another value than its input");
        let own = self.are_parameters(node, &places.parameters, mode)?;
        self.hold(node, own, "reads another layer's parameters");
        let activation = self.fusion.activation(self.fusion.written(node.output));
        let applied = places.output.activation == activation;
        self.hold(node, applied, "applies another activation");
        let addend = self.fusion.addend(self.fusion.written(node.output));
        let addend = addend.map(|addend| self.values[addend.0]);
        let added = places.output.addend.map(Some) == addend;
        self.hold(node, added, "adds another value");
        Ok(())
    }

    /// Where the losses leave the gradients of values.
    fn losses(&mut self) -> Vec<Option<Region>> {
        let (graph, lowered) = (&self.task.model.graph, self.lowered);
        let mut gradients: Vec<Option<Region>> = vec![None; self.values.len()];
        for (loss, parts) in self.task.losses.iter().zip(&lowered.losses) {
            let root = self.fusion.root(graph.outputs()[loss.output]);
            let before = gradients[root.0];
            let added = match (before, &parts.sum) {
                (None, None) => true,
                (Some(sum), Some(part)) => part.places.accumulate && part.places.region == sum,
                (None, Some(_)) | (Some(_), None) => false,
            };
            self.fault("loss", added, "loses the gradient of another loss");
            gradients[root.0] = before.or(Some(parts.logits[1]));
        }
        gradients
    }

    fn backward(&mut self) -> Result<()> {
        let graph = &self.task.model.graph;
        let mut gradients = self.losses();
        let mut begun = vec![false; graph.parameters().len()];
        for (index, node) in graph.nodes().iter().enumerate().rev() {
            if !self.is_recorded(node) {
                continue;
            }
            self.node_backward((index, node), (&mut gradients, &mut begun))?;
            let sums = graph.nodes().iter().enumerate();
            let mut sums = sums.filter(|(_, n)| self.fusion.summand(n.output) == Some(node.output));
            if let Some(sum) = sums.next() {
                self.node_backward(sum, (&mut gradients, &mut begun))?;
            }
        }
        Ok(())
    }

    fn node_backward(
        &mut self,
        (index, node): (usize, &Node),
        (gradients, begun): (&mut [Option<Region>], &mut [bool]),
    ) -> Result<()> {
        let (graph, lowered) = (&self.task.model.graph, self.lowered);
        let parts = &lowered.nodes[index];
        let Some(part) = &parts.backward else {
            return Ok(());
        };
        let places = &part.places;
        let read: Vec<_> = places.inputs.iter().copied().map(Some).collect();
        let own = self.are_parameters(node, &places.parameters, Mode::Training)?;
        let written = self.fusion.written(node.output);
        let output = self.values[written.0] == Some(places.output);
        let same = read == self.inputs(node) && own && output;
        self.hold(node, same, "differentiates at another place");
        self.hold(
            node,
            part.mode == Mode::Training.of(node),
            "computes in another mode",
        );
        let arrived = gradients[written.0] == Some(places.gradient);
        self.hold(node, arrived, "reads another value's gradient");
        let activation = self.fusion.passed_by_maker(written);
        let by_another = self.fusion.summand(node.output).is_some();
        let activation = activation.filter(|_| !by_another);
        let saved = match activation.is_some_and(Activation::gradient_from_value) {
            true => self.values[written.0],
            false => self.arguments[written.0],
        };
        let same = through(places.through, activation, saved);
        self.hold(node, same, "takes its gradient through another activation");
        let mut sums = parts.sums.iter();
        for (&id, to) in node.parameters.iter().zip(&places.to_parameters) {
            // Whether it must be there, its trial says.
            let Some(to) = to else { continue };
            let gradient = lowered.gradient(id)?;
            let own = match std::mem::replace(&mut begun[id.0], true) {
                false => *to == gradient,
                true => sums.next().is_some_and(|sum| {
                    let [from, sum] = &sum.places;
                    from == to && *sum == gradient && from != sum
                }),
            };
            self.hold(node, own, "writes another parameter's gradient");
        }
        for (&input, to) in node.inputs.iter().zip(&places.to_inputs) {
            let root = self.fusion.root(input);
            let Some(to) = to else { continue };
            let adds = match gradients[root.0] {
                Some(region) => to.accumulate && region == to.region,
                None => !to.accumulate && !gradients.contains(&Some(to.region)),
            };
            gradients[root.0] = Some(to.region);
            self.hold(node, adds, "loses the gradient by another way");
            let activation = self.fusion.passed_by_readers(root);
            let same = through(to.gradient_of, activation, self.values[root.0]);
            self.hold(node, same, "hands its gradient through another activation");
        }
        if let Some(heir) = parts.heir {
            let first = gradients[heir.0].replace(places.gradient).is_none();
            self.hold(node, first, "loses the gradient by another way");
            let roots = node.inputs.iter().map(|&input| self.fusion.root(input));
            let mut positions = (0..).zip(roots).filter(|&(_, root)| root == heir);
            let (position, once) = (positions.next(), positions.next().is_none());
            let site = Site::new(graph, node, self.task.options.batch, part.mode);
            let handed_on =
                position.is_some_and(|(at, _)| kernels(&node.op).hands_gradient_on(&site, at));
            let unchanged = handed_on
                && self.fusion.passed_by_readers(heir).is_none()
                && !self.fusion.is_asked(node.output);
            self.hold(node, once && unchanged, "hands on a gradient that changes");
        }
        Ok(())
    }
}

/// Whether a gradient goes through this activation and no other, which has its value or argument here.
fn through(
    given: Option<(Activation, Region)>,
    activation: Option<Activation>,
    saved: Option<Region>,
) -> bool {
    match (given, activation) {
        (Some((function, region)), Some(activation)) => {
            function == activation && saved == Some(region)
        }
        (given, activation) => given.is_none() && activation.is_none(),
    }
}
