//! Where the inputs of a batch go, and how the bytes of those that are given as such become numbers.

use super::{Lowered, Part, Task};
use crate::engine::operators::Mode;
use crate::gpu::kernels::bytes;
use crate::gpu::record::{Recording, Region, Storage};
use crate::model::{Graph, ValueId};

/// The places that the inputs of so many examples are uploaded to: numbers, or four bytes to an element.
pub(super) fn input_places(
    recording: &mut Recording,
    graph: &Graph,
    examples: usize,
) -> Vec<Region> {
    let places = graph.inputs().iter().map(|&input| {
        let len = examples * graph.shape(input).len();
        let elements = match graph.bytes(input) {
            Some(_) => len.div_ceil(4),
            None => len,
        };
        recording.buffer("input", elements, Storage::Persistent)
    });
    places.collect()
}

/// Where the numbers of an input that is uploaded to `place` lie, once its bytes have become such.
pub(super) fn record_numbers(
    lowered: &mut Lowered,
    task: &Task,
    (input, place): (ValueId, Region),
    (batch, mode): (usize, Mode),
) -> Region {
    let graph = &task.model.graph;
    let Some(of) = graph.bytes(input) else {
        return place;
    };
    let (recording, len) = (&mut lowered.recording, graph.shape(input).len());
    recording.set_label(graph.value_name(input));
    let numbers = recording.transient("numbers of an input", task.options.batch * len);
    let begin = recording.dispatches.len();
    bytes::numbers(recording, of, [batch, len], [place, numbers]);
    lowered.unpacked.push(Part {
        range: begin..recording.dispatches.len(),
        mode,
        places: [place, numbers],
    });
    numbers
}

impl Lowered {
    /// Where the numbers of each input lie in training or in evaluation.
    pub(super) fn numbers_of_inputs(&self, mode: Mode) -> Vec<Region> {
        let numbers = self.inputs.iter().map(|&input| {
            let mut parts = self.unpacked.iter();
            let own = parts.find(|part| part.mode == mode && part.places[0] == input);
            own.map_or(input, |part| part.places[1])
        });
        numbers.collect()
    }
}
