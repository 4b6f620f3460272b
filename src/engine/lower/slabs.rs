//! Where the parameters lie: slabs, each updated by one dispatch.

use super::{Purpose, Task};
use crate::engine::operators::{Piece, Pieces};
use crate::gpu::kernel::Format;
use crate::gpu::kernels::{Output, activation};
use crate::gpu::record::{Recording, Region, Storage};
use crate::gpu::strategy::Traits;
use crate::gpu::tensor::padded;
use crate::model::{Parameter, ParameterId};
use crate::{Error, Result};

/// Parameters of a group that lie in one buffer and are updated by one dispatch.
#[derive(Debug)]
pub(in crate::engine) struct Slab {
    /// The place of the group.
    pub group: usize,
    pub parameter: Region,
    /// The copy in half precision, made anew when the parameters have changed.
    pub copy: Option<Region>,
    pub gradient: Region,
    /// The sum of the gradients of micro-batches.
    pub sum: Option<Region>,
    pub state: Vec<Region>,
    /// The average of the parameters over the updates.
    pub average: Option<Region>,
}

impl Slab {
    /// The gradient that the optimizer takes.
    pub fn total(&self) -> Region {
        self.sum.unwrap_or(self.gradient)
    }

    pub fn vectors(&self) -> usize {
        (self.parameter.size / 16) as usize
    }
}

/// The buffer in which a piece of a parameter lies, by its place among those of its kind.
#[derive(Debug, Clone, Copy)]
pub(super) enum Buffer {
    Slab(usize),
    /// Of what is not learned.
    Unlearned(usize),
}

/// Where a piece of a parameter lies.
#[derive(Debug, Clone, Copy)]
struct Spot {
    buffer: Buffer,
    offset: u64,
    rows: Rows,
}

/// Rows of a parameter's first axis.
#[derive(Debug, Clone, Copy)]
struct Rows {
    first: usize,
    count: usize,
    /// Elements of all of them.
    len: usize,
}

impl Rows {
    /// Bytes that they take.
    fn size(self) -> u64 {
        padded(self.len as u64 * 4)
    }
}

/// Where a parameter lies: in one piece, or in several of its first axis.
#[derive(Debug, Clone)]
pub(super) struct Spots(Vec<Spot>);

impl Spots {
    /// Whether it is in a slab.
    pub fn is_learned(&self) -> bool {
        let mut spots = self.0.iter();
        spots.all(|spot| matches!(spot.buffer, Buffer::Slab(_)))
    }

    /// Its parts of buffers of either format.
    pub fn within(&self, buffer: impl Fn(Buffer) -> Result<Region>) -> Result<Pieces> {
        let piece = |spot: &Spot| {
            let buffer = buffer(spot.buffer)?;
            let scaled = |bytes: u64| bytes / 4 * buffer.format.size();
            let Rows { first, count, len } = spot.rows;
            Ok(Piece {
                first,
                rows: count,
                len,
                region: Region {
                    offset: scaled(spot.offset),
                    size: padded(scaled(spot.rows.size())),
                    ..buffer
                },
            })
        };
        let pieces: Result<_> = self.0.iter().map(piece).collect();
        Ok(Pieces(pieces?))
    }
}

/// Lays the parameters out, each at an offset that a binding may begin at, in as few buffers as
/// their size allows: what is learned in slabs, what is not, as statistics, apart from it.
pub(super) fn place_parameters(
    task: &Task,
    recording: &mut Recording,
) -> Result<(Vec<Slab>, Vec<Region>, Vec<Spots>)> {
    let traits = recording.traits;
    let (limit, most) = largest_slab(task, &traits);
    if let Purpose::Prediction(_) = task.purpose {
        return place_apart(task, recording, (limit, most));
    }
    // An element in a copy of half the size must be where a binding may begin, too.
    let alignment = match task.options.half {
        true => 2 * traits.storage_alignment,
        false => traits.storage_alignment,
    };
    let mut learned = Layout::new(alignment, most);
    let mut unlearned = Layout::new(traits.storage_alignment, most);
    let mut places = Vec::new();
    for (id, parameter) in task.model.graph.parameters().iter().enumerate() {
        let id = ParameterId(id);
        let group = task.groups.of(id).filter(|_| task.wanted.parameter(id));
        let (layout, buffer): (_, fn(usize) -> Buffer) = match group {
            Some(_) => (&mut learned, Buffer::Slab),
            None => (&mut unlearned, Buffer::Unlearned),
        };
        let spots = pieces(parameter, most).into_iter().map(|rows| {
            let place = layout.place(group, rows.size());
            let (at, offset) = place.map_err(|needed| Error::Limit {
                limit,
                what: described(task, id),
                needed,
                available: most,
            })?;
            let buffer = buffer(at);
            Ok(Spot {
                buffer,
                offset,
                rows,
            })
        });
        places.push(Spots(spots.collect::<Result<_>>()?));
    }
    let slabs = learned.buffers.into_iter();
    let slabs = slabs.filter_map(|(group, size)| Some(slab(task, recording, group?, size)));
    let slabs = slabs.collect();
    let mut persistent = |size: u64| {
        let label = "parameters that are not learned";
        recording.buffer(label, size as usize / 4, Storage::Persistent)
    };
    let unlearned = unlearned.buffers.into_iter();
    let unlearned = unlearned.map(|(_, size)| persistent(size)).collect();
    Ok((slabs, unlearned, places))
}

/// Gives each parameter buffers of its own, so that one which kernels read in another form alone need not
/// be kept: a slab where its kernels read a copy in half precision, which nothing updates.
fn place_apart(
    task: &Task,
    recording: &mut Recording,
    (limit, most): (&'static str, u64),
) -> Result<(Vec<Slab>, Vec<Region>, Vec<Spots>)> {
    let graph = &task.model.graph;
    let mut read_half = vec![false; graph.parameters().len()];
    for node in graph.nodes() {
        for (at, &id) in node.parameters.iter().enumerate() {
            read_half[id.0] |= node.op.definition().reads_half(at) && task.wanted.parameter(id);
        }
    }
    let (mut slabs, mut unlearned, mut places) = (Vec::new(), Vec::new(), Vec::new());
    for (id, parameter) in graph.parameters().iter().enumerate() {
        let mut spots = Vec::new();
        for rows in pieces(parameter, most) {
            if rows.size() > most {
                return Err(Error::Limit {
                    limit,
                    what: described(task, ParameterId(id)),
                    needed: rows.size(),
                    available: most,
                });
            }
            let len = rows.size() as usize / 4;
            let buffer = match task.options.half && read_half[id] {
                true => {
                    slabs.push(read_only(recording, len));
                    Buffer::Slab(slabs.len() - 1)
                }
                false => {
                    unlearned.push(recording.buffer("parameter", len, Storage::Persistent));
                    Buffer::Unlearned(unlearned.len() - 1)
                }
            };
            let offset = 0;
            spots.push(Spot {
                buffer,
                offset,
                rows,
            });
        }
        places.push(Spots(spots));
    }
    Ok((slabs, unlearned, places))
}

/// A slab that is read in half precision and never updated: of its gradient there is no memory.
fn read_only(recording: &mut Recording, len: usize) -> Slab {
    let copy = recording.buffer_of(
        Format::F16,
        "half-precision weights",
        len,
        Storage::Persistent,
    );
    Slab {
        group: 0,
        parameter: recording.buffer("parameter", len, Storage::Persistent),
        copy: Some(copy),
        gradient: recording.transient("no gradient", len),
        sum: None,
        state: vec![],
        average: None,
    }
}

/// Buffers that are filled one after the other, those of each group by themselves.
struct Layout {
    alignment: u64,
    /// Bytes of a buffer at most.
    most: u64,
    /// The group and the size of each.
    buffers: Vec<(Option<usize>, u64)>,
}

impl Layout {
    fn new(alignment: u64, most: u64) -> Self {
        let buffers = vec![];
        Self {
            alignment,
            most,
            buffers,
        }
    }

    /// The buffer and the offset of so many more bytes of a group, which are given back where no buffer is
    /// as large.
    fn place(&mut self, group: Option<usize>, size: u64) -> std::result::Result<(usize, u64), u64> {
        if size > self.most {
            return Err(size);
        }
        let last = self.buffers.iter().rposition(|&(of, _)| of == group);
        let room = last.and_then(|at| {
            let offset = self.buffers[at].1.next_multiple_of(self.alignment);
            (offset + size <= self.most).then_some((at, offset))
        });
        let (at, offset) = room.unwrap_or_else(|| {
            self.buffers.push((group, 0));
            (self.buffers.len() - 1, 0)
        });
        self.buffers[at].1 = offset + size;
        Ok((at, offset))
    }
}

/// The bytes of the largest slab, and by which limit.
fn largest_slab(task: &Task, traits: &Traits) -> (&'static str, u64) {
    let limits = [
        ("max_storage_buffer_binding_size", traits.max_binding),
        ("max_buffer_size", traits.max_buffer),
        ("max_slab", task.options.max_slab),
    ];
    let smallest = limits.into_iter().min_by_key(|&(_, bytes)| bytes);
    smallest.unwrap_or(limits[0])
}

/// A parameter in messages, with the layer that it belongs to.
fn described(task: &Task, id: ParameterId) -> String {
    let graph = &task.model.graph;
    let name = &graph.parameter(id).name;
    let mut nodes = graph.nodes().iter();
    match nodes.find(|node| node.parameters.contains(&id)) {
        Some(node) => format!("{}: parameter {name}", node.label()),
        None => format!("parameter {name}"),
    }
}

/// The buffers of a slab.
fn slab(task: &Task, recording: &mut Recording, group: usize, size: u64) -> Slab {
    let mut persistent = |format, label: &str| {
        recording.buffer_of(format, label, size as usize / 4, Storage::Persistent)
    };
    let mut single = |label| persistent(Format::F32, label);
    let slots = task.groups.list()[group].optimizer.state_slots();
    Slab {
        group,
        parameter: single("parameters"),
        gradient: single("gradients"),
        sum: (task.options.accumulate > 1).then(|| single("gradient sums")),
        state: (0..slots).map(|_| single("optimizer state")).collect(),
        average: task.options.average.map(|_| single("average")),
        copy: (task.options.half).then(|| persistent(Format::F16, "half-precision weights")),
    }
}

/// The pieces in which a parameter lies that should take no more than `most` bytes each: one wherever
/// that is possible, or where its operator cannot take it apart.
fn pieces(parameter: &Parameter, most: u64) -> Vec<Rows> {
    let shape = &parameter.spec.shape;
    let count = shape.first().copied().unwrap_or(1);
    let whole = Rows {
        first: 0,
        count,
        len: shape.len(),
    };
    let Some(groups) = parameter.spec.groups.filter(|_| whole.size() > most) else {
        return vec![whole];
    };
    let (row, group) = (whole.len / count, count / groups);
    let at_once = (most / 16 * 4) as usize / row;
    // Whole groups where one fits, or else rows within each.
    let (unit, range) = match groups > 1 && group <= at_once {
        true => (group, count),
        false => (1, group),
    };
    let units = range / unit;
    // As even as possible, and in whole tiles of the kernels where these fit.
    let even = units.div_ceil(units.div_ceil((at_once / unit).max(1))) * unit;
    let tiled = even.next_multiple_of(32);
    let step = match unit == 1 && tiled <= at_once {
        true => tiled,
        false => even,
    };
    let ranges = (0..count).step_by(range);
    let steps = ranges.flat_map(|begin| {
        let steps = (begin..begin + range).step_by(step);
        steps.map(move |first| (first, step.min(begin + range - first)))
    });
    let rows = steps.map(|(first, count)| Rows {
        first,
        count,
        len: count * row,
    });
    rows.collect()
}

/// A place beside a parameter or its gradient, of the same pieces.
pub(super) fn apart(recording: &mut Recording, of: &Pieces, label: &str) -> Pieces {
    let pieces = of.iter().map(|piece| Piece {
        region: recording.transient(label, piece.len),
        ..*piece
    });
    Pieces(pieces.collect())
}

/// Records that gradients of a parameter are added to what is there.
pub(super) fn add_pieces(recording: &mut Recording, from: &Pieces, to: &Pieces) {
    for (from, to) in from.iter().zip(to.iter()) {
        let output = Output {
            accumulate: true,
            ..to.region.into()
        };
        activation::forward(recording, from.len, from.region, output);
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::model::Model;
    use crate::{Conv2d, ConvTranspose2d};

    /// The smallest slab in which a model's parameters lie: most of its weights are in pieces then.
    pub(in super::super) fn smallest(model: &Model) -> u64 {
        let parameters = model.graph.parameters().iter();
        let sizes = parameters.map(|parameter| {
            let rows = pieces(parameter, 16).into_iter();
            rows.map(Rows::size).max().unwrap_or(0)
        });
        sizes.max().unwrap_or(0)
    }

    fn weight(model: crate::ModelBuilder) -> Parameter {
        model.build().unwrap().graph.parameters()[0].clone()
    }

    /// The first row and the number of rows of each piece.
    fn rows(parameter: &Parameter, most: u64) -> Vec<(usize, usize)> {
        let pieces = pieces(parameter, most).into_iter();
        pieces.map(|rows| (rows.first, rows.count)).collect()
    }

    #[test]
    fn pieces_are_few_even_and_whole_tiles() {
        let alexnet = weight(Model::builder([9216]).dense(4096));
        assert_eq!(rows(&alexnet, 128 << 20), [(0, 2048), (2048, 2048)]);
        assert_eq!(rows(&alexnet, 256 << 20), [(0, 4096)]);
        let vgg = weight(Model::builder([25_088]).dense(4096));
        let quarters = [(0, 1024), (1024, 1024), (2048, 1024), (3072, 1024)];
        assert_eq!(rows(&vgg, 128 << 20), quarters);
        let odd = weight(Model::builder([100]).dense(1001));
        assert_eq!(rows(&odd, 200 << 10), [(0, 512), (512, 489)]);
    }

    #[test]
    fn pieces_hold_whole_groups_or_a_part_of_one() {
        let image = || Model::builder([12, 9, 9]);
        // 4 filters of 3 channels a group, 432 bytes.
        let conv = weight(image().push(Conv2d::new(16, 3).groups(4)));
        assert_eq!(rows(&conv, 1728), [(0, 16)]);
        assert_eq!(rows(&conv, 1727), [(0, 8), (8, 8)]);
        assert_eq!(rows(&conv, 863), [(0, 4), (4, 4), (8, 4), (12, 4)]);
        let halves = (0..16).step_by(2).map(|first| (first, 2));
        assert_eq!(rows(&conv, 400), halves.collect::<Vec<_>>());
        // 3 channels a group.
        let transpose = weight(image().push(ConvTranspose2d::new(8, 3).groups(4)));
        assert_eq!(rows(&transpose, 600), [(0, 6), (6, 6)]);
        let parts = [
            (0, 2),
            (2, 1),
            (3, 2),
            (5, 1),
            (6, 2),
            (8, 1),
            (9, 2),
            (11, 1),
        ];
        assert_eq!(rows(&transpose, 160), parts);
    }

    #[test]
    fn pieces_cover_a_parameter_and_fit_wherever_a_row_does() {
        let mut rng = fastrand::Rng::with_seed(3);
        for _ in 0..2000 {
            let groups = rng.usize(1..5);
            let [from, to] = [(); 2].map(|()| groups * rng.usize(1..40));
            let layer = Conv2d::new(to, rng.usize(1..4)).groups(groups);
            let parameter = weight(Model::builder([from, 4, 4]).push(layer));
            let row = (parameter.shape.len() / to) as u64;
            let most = padded(row * 4) + rng.u64(0..8000);
            let mut next = 0;
            for piece in pieces(&parameter, most) {
                assert_eq!(piece.first, next);
                assert!(piece.size() <= most && piece.len == piece.count * row as usize);
                next += piece.count;
                let group = to / groups;
                let whole = piece.first.is_multiple_of(group) && next.is_multiple_of(group);
                assert!(whole || piece.first / group == (next - 1) / group);
            }
            assert_eq!(next, to);
        }
    }
}
