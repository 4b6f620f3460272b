//! Whether the places that a recording's parts were given are those that the graph says: who reads which
//! value, which parameter, and what happens to a gradient on its way. Told anew, without the walks that
//! recorded it.

use super::{Fusion, Lowered, Task};
use crate::Result;
use crate::engine::operators::{Forward, Mode, Pieces, kernels};
use crate::gpu::record::Region;
use crate::model::Node;

/// What is wrong: the layer, and how.
type Fault = (String, &'static str);

struct Wiring<'a> {
    task: &'a Task<'a>,
    fusion: &'a Fusion,
    lowered: &'a Lowered,
    /// Where each value lies in training.
    values: Vec<Option<Region>>,
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
        values,
        faults: vec![],
    };
    wiring.forward(Mode::Evaluation)?;
    let output = wiring.values[fusion.root(task.model.graph.output()).0];
    let written = match &lowered.copy {
        Some(copy) => {
            let (from, to) = (copy.places.inputs.first(), copy.places.output.region);
            from.copied() == output && to == lowered.output
        }
        None => output == Some(lowered.output),
    };
    wiring.fault("output", written, "does not reach its place in evaluation");
    wiring.values.fill(None);
    wiring.forward(Mode::Training)?;
    let output = wiring.values[fusion.root(task.model.graph.output()).0];
    let read = output == Some(lowered.logits[0]);
    wiring.fault("loss", read, "reads another value than the output");
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
        !node.op.definition().is_view() && self.fusion.activation(node.output).is_none()
    }

    /// Where a node's inputs lie.
    fn inputs(&self, node: &Node) -> Vec<Option<Region>> {
        let roots = node.inputs.iter().map(|&input| self.fusion.root(input));
        roots.map(|root| self.values[root.0]).collect()
    }

    /// Whether these places are a node's parameters, as its kernels read them.
    fn are_parameters(&self, node: &Node, pieces: &[Pieces]) -> Result<bool> {
        let mut same = pieces.len() == node.parameters.len();
        for (at, (&id, pieces)) in node.parameters.iter().zip(pieces).enumerate() {
            same &= *pieces == self.lowered.read_by(node, at, id)?;
        }
        Ok(same)
    }

    fn forward(&mut self, mode: Mode) -> Result<()> {
        let (graph, lowered) = (&self.task.model.graph, self.lowered);
        self.values[graph.input().0] = Some(lowered.input);
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
                    self.node_forward(node, &part.places, &inputs)?;
                    let region = part.places.output.region;
                    let own = !self.values.contains(&Some(region));
                    self.hold(node, own, "writes over another value");
                    Some(region)
                }
                None => inputs.first().copied().flatten(),
            };
        }
        Ok(())
    }

    fn node_forward(
        &mut self,
        node: &Node,
        places: &Forward,
        inputs: &[Option<Region>],
    ) -> Result<()> {
        let read: Vec<_> = places.inputs.iter().copied().map(Some).collect();
        self.hold(node, read == inputs, "reads another value than its input");
        let own = self.are_parameters(node, &places.parameters)?;
        self.hold(node, own, "reads another layer's parameters");
        let activation = self.fusion.activation(self.fusion.written(node.output));
        let applied = places.output.activation == activation;
        self.hold(node, applied, "applies another activation");
        Ok(())
    }

    fn backward(&mut self) -> Result<()> {
        let (graph, lowered) = (&self.task.model.graph, self.lowered);
        let mut gradients: Vec<Option<Region>> = vec![None; self.values.len()];
        gradients[self.fusion.root(graph.output()).0] = Some(lowered.logits[1]);
        for (node, parts) in graph.nodes().iter().zip(&lowered.nodes).rev() {
            let Some(part) = parts.backward.as_ref().filter(|_| self.is_recorded(node)) else {
                continue;
            };
            let places = &part.places;
            let read: Vec<_> = places.inputs.iter().copied().map(Some).collect();
            let own = self.are_parameters(node, &places.parameters)?;
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
            for (&id, to) in node.parameters.iter().zip(&places.to_parameters) {
                let own = match to {
                    Some(to) => *to == lowered.gradient(id)?,
                    None => true, // whether it must be there, its trial says
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
                let value = self.values[root.0];
                let activation = self.fusion.activation(root);
                let through = to.gradient_of.map(|(f, saved)| (f, Some(saved)));
                let same = through == activation.map(|f| (f, value));
                self.hold(node, same, "hands its gradient through another activation");
            }
            if let Some(heir) = parts.heir {
                let first = gradients[heir.0].replace(places.gradient).is_none();
                self.hold(node, first, "loses the gradient by another way");
                let roots = node.inputs.iter().map(|&input| self.fusion.root(input));
                let once = roots.filter(|&root| root == heir).count() == 1;
                let unchanged = kernels(&node.op).hands_gradient_on()
                    && self.fusion.activation(heir).is_none()
                    && !self.fusion.is_asked(node.output);
                self.hold(node, once && unchanged, "hands on a gradient that changes");
            }
        }
        Ok(())
    }
}
