//! What is lowered otherwise where several ranks train: each batch's own mean and variance stay apart, and are
//! folded into the running ones one rank after the other.

use std::ops::Range;

use super::{Lowered, Task};
use crate::Result;
use crate::engine::operators::{Piece, Pieces, normalisations};
use crate::gpu::kernels::norm::batch;
use crate::gpu::record::{Region, Storage};
use crate::model::{Graph, Node, ParameterId};
use crate::op::Op;

/// A batch's own means and unbiased variances, of all layers in one buffer.
#[derive(Debug, Clone)]
pub(in crate::engine) struct Apart {
    pub region: Region,
    pub layers: Vec<Own>,
}

/// Those of a layer.
#[derive(Debug, Clone)]
pub(in crate::engine) struct Own {
    /// The layer's place in the graph.
    pub node: usize,
    /// Mean and variance, by the running estimate that they become part of.
    pub places: [(ParameterId, Region); 2],
    pub channels: usize,
    /// What folds them.
    pub range: Range<usize>,
}

impl Apart {
    /// The means and the variances of each layer, and how many they are.
    pub fn places(&self) -> impl Iterator<Item = (Region, usize)> + '_ {
        let layers = self.layers.iter();
        layers.flat_map(|own| own.places.map(|(_, region)| (region, own.channels)))
    }

    /// Where a layer in training writes a running estimate instead.
    pub fn of(&self, graph: &Graph, node: &Node, id: ParameterId) -> Option<Region> {
        let mut layers = self.layers.iter();
        let own = layers.find(|own| std::ptr::eq(&graph.nodes()[own.node], node))?;
        let mut places = own.places.iter();
        places.find(|place| place.0 == id).map(|place| place.1)
    }
}

impl Lowered {
    /// The places of a node's parameter in a pass of training, where these are its own otherwise.
    pub(super) fn in_training(
        &self,
        graph: &Graph,
        node: &Node,
        id: ParameterId,
        own: Pieces,
    ) -> Pieces {
        let apart = self.apart.as_ref();
        match apart.and_then(|apart| apart.of(graph, node, id)) {
            Some(region) => Pieces(own.iter().map(|&piece| Piece { region, ..piece }).collect()),
            None => own,
        }
    }
}

/// Finds places for the batch's own means and variances, where several ranks train.
pub(super) fn place_apart(task: &Task, lowered: &mut Lowered) {
    if task.options.ranks < 2 {
        return;
    }
    let graph = &task.model.graph;
    let alignment = lowered.recording.traits.storage_alignment;
    let (mut size, mut layers) = (0, Vec::new());
    for (node, of, norm) in normalisations(graph) {
        let first = norm.first_statistic();
        let places = [first, first + 1].map(|at| {
            let id = of.parameters[at];
            let (offset, own) = (size, 4 * graph.parameter(id).shape.len() as u64);
            size = (offset + own).next_multiple_of(alignment);
            (id, offset, own)
        });
        let channels = graph.parameter(of.parameters[first]).shape.len();
        layers.push((node, places, channels));
    }
    if layers.is_empty() {
        return;
    }
    let label = "means and variances of a batch";
    let region = (lowered.recording).buffer(label, size as usize / 4, Storage::Persistent);
    let layers = layers.into_iter().map(|(node, places, channels)| {
        let places = places.map(|(id, offset, size)| {
            let size = crate::gpu::tensor::padded(size);
            let place = Region {
                offset,
                size,
                ..region
            };
            (id, place)
        });
        Own {
            node,
            places,
            channels,
            range: 0..0,
        }
    });
    let layers = layers.collect();
    lowered.apart = Some(Apart { region, layers });
}

/// Records what folds them, layer by layer, as the layers would have done it.
pub(super) fn record_fold(task: &Task, lowered: &mut Lowered) -> Result<()> {
    let Some(mut apart) = lowered.apart.take() else {
        return Ok(());
    };
    let graph = &task.model.graph;
    for own in &mut apart.layers {
        let node = &graph.nodes()[own.node];
        let Op::BatchNorm(norm) = &node.op else {
            continue;
        };
        let first = norm.first_statistic();
        let place = |at: usize| {
            lowered
                .parameter(node.parameters[at])
                .and_then(|p| p.whole())
        };
        let batches = norm.momentum.is_none().then(|| place(first + 2));
        let running = batch::Running {
            mean: place(first)?,
            variance: place(first + 1)?,
            batches: batches.transpose()?,
            folds_later: false,
        };
        let from = own.places.map(|(_, place)| place);
        let recording = &mut lowered.recording;
        recording.set_label(node.label());
        let begin = recording.dispatches.len();
        batch::fold(recording, norm, own.channels, from, running);
        own.range = begin..recording.dispatches.len();
    }
    lowered.apart = Some(apart);
    Ok(())
}
