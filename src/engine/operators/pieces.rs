//! Parameters in pieces. One that is larger than a binding lies in several, each of them rows of its
//! first axis, and a layer's products are put together here from those with each piece.

use std::ops::Range;

use super::Backward;
use crate::Result;
use crate::engine::internal;
use crate::gpu::kernel::Format;
use crate::gpu::kernels::concat::{self, Block};
use crate::gpu::kernels::{Output, activation};
use crate::gpu::record::{Recording, Region, Storage};
use crate::op::Conv2dGeometry;

/// Rows of a parameter's first axis that lie in one place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::engine) struct Piece {
    /// The first of them.
    pub first: usize,
    pub rows: usize,
    /// Elements.
    pub len: usize,
    pub region: Region,
}

/// Where a parameter lies: its pieces in order. Most have one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::engine) struct Pieces(pub Vec<Piece>);

impl Pieces {
    /// The place of a parameter that is never taken apart.
    pub fn whole(&self) -> Result<Region> {
        match self.0[..] {
            [piece] => Ok(piece.region),
            _ => Err(internal("a parameter lies in several pieces")),
        }
    }

    pub fn iter(&self) -> std::slice::Iter<'_, Piece> {
        self.0.iter()
    }

    pub fn regions(&self) -> impl Iterator<Item = Region> {
        self.0.iter().map(|piece| piece.region)
    }

    /// The values of each piece, of all those of the parameter.
    pub fn split<'a, T>(&'a self, values: &'a [T]) -> impl Iterator<Item = (&'a Piece, &'a [T])> {
        let mut rest = values;
        self.0.iter().map(move |piece| {
            let (values, others) = rest.split_at(piece.len.min(rest.len()));
            rest = others;
            (piece, values)
        })
    }
}

/// Channels of images, and the elements of each.
#[derive(Debug, Clone, Copy)]
pub(super) struct Side {
    pub channels: usize,
    pub area: usize,
}

/// A layer between two sides by weights whose rows are the channels of the one and whose columns those
/// of the other, group by group.
#[derive(Debug, Clone)]
pub(super) struct Layer {
    batch: usize,
    rows: Side,
    columns: Side,
    parts: Vec<Part>,
}

/// What of a layer belongs to a piece of its weights: channels of either side.
#[derive(Debug, Clone)]
pub(super) struct Part {
    pub rows: Range<usize>,
    pub columns: Range<usize>,
    pub groups: usize,
    pub weight: Region,
    /// Whether no piece before it has the same columns.
    first: bool,
}

impl Part {
    /// A convolution with these weights alone.
    pub fn geometry(&self, whole: &Conv2dGeometry) -> Conv2dGeometry {
        Conv2dGeometry {
            groups: self.groups,
            in_channels: self.columns.len(),
            out_channels: self.rows.len(),
            ..*whole
        }
    }
}

impl Layer {
    pub fn new(batch: usize, groups: usize, [rows, columns]: [Side; 2], weight: &Pieces) -> Self {
        let rows_of_group = rows.channels / groups;
        let columns_of_group = columns.channels / groups;
        let part = |piece: &Piece| {
            let end = piece.first + piece.rows;
            let groups = piece.first / rows_of_group..end.div_ceil(rows_of_group);
            Part {
                rows: piece.first..end,
                columns: groups.start * columns_of_group..groups.end * columns_of_group,
                groups: groups.len(),
                weight: piece.region,
                first: piece.first.is_multiple_of(rows_of_group),
            }
        };
        let parts = weight.iter().map(part).collect();
        Self {
            batch,
            rows,
            columns,
            parts,
        }
    }

    /// The layer of a convolution's weights `(O, C/groups, KH, KW)`.
    pub fn of_convolution(geometry: &Conv2dGeometry, weight: &Pieces) -> Self {
        let rows = Side {
            channels: geometry.out_channels,
            area: geometry.out_size.area(),
        };
        let columns = Side {
            channels: geometry.in_channels,
            area: geometry.in_size.area(),
        };
        Self::new(geometry.batch, geometry.groups, [rows, columns], weight)
    }

    /// The rows' channels of values, for each part.
    pub fn rows_of(&self, recording: &mut Recording, values: Region) -> Vec<Region> {
        let parts = self.parts.iter();
        parts
            .map(|part| self.channels(recording, self.rows, values, &part.rows))
            .collect()
    }

    /// The columns' channels of values, for each part.
    pub fn columns_of(&self, recording: &mut Recording, values: Region) -> Vec<Region> {
        let parts = self.parts.iter();
        parts
            .map(|part| self.channels(recording, self.columns, values, &part.columns))
            .collect()
    }

    fn channels(
        &self,
        recording: &mut Recording,
        side: Side,
        values: Region,
        channels: &Range<usize>,
    ) -> Region {
        take(recording, self.batch, side, values, channels)
    }

    /// Records the weights' products with the columns' values, whose results are the rows' channels one
    /// after the other. A product is handed its part, the values, the bias and where it goes.
    pub fn to_rows(
        &self,
        recording: &mut Recording,
        values: &[Region],
        bias: Option<Region>,
        output: Output,
        product: impl Fn(&mut Recording, &Part, Region, Option<Region>, Output),
    ) {
        for (part, &values) in self.parts.iter().zip(values) {
            let bias = self.bias(recording, bias, self.rows, &part.rows);
            if self.parts.len() == 1 {
                product(recording, part, values, bias, output);
                continue;
            }
            let len = self.batch * part.rows.len() * self.rows.area;
            let block = recording.transient("outputs of a block of weights", len);
            product(recording, part, values, bias, block.into());
            put(recording, self.batch, self.rows, block, &part.rows, output);
        }
    }

    /// Records the transposed weights' products with the rows' values, whose results are added up, piece
    /// by piece.
    pub fn to_columns(
        &self,
        recording: &mut Recording,
        values: &[Region],
        bias: Option<Region>,
        output: Output,
        product: impl Fn(&mut Recording, &Part, Region, Option<Region>, Output),
    ) {
        let len = self.batch * self.columns.channels * self.columns.area;
        // Only what is linear can happen to each of the terms in place of the sum.
        let is_linear = output.activation.is_none() && output.argument.is_none();
        let in_place = self.parts.len() == 1 || is_linear && output.region.format == Format::F32;
        let sum: Output = match in_place {
            true => output,
            false => recording
                .transient("sum over blocks of weights", len)
                .into(),
        };
        for (part, &values) in self.parts.iter().zip(values) {
            let bias = bias.filter(|_| part.first);
            let bias = self.bias(recording, bias, self.columns, &part.columns);
            let to = Output {
                accumulate: sum.accumulate || !part.first,
                ..sum
            };
            if part.columns.len() == self.columns.channels {
                product(recording, part, values, bias, to);
                continue;
            }
            let len = self.batch * part.columns.len() * self.columns.area;
            let block = recording.transient("term of a block of weights", len);
            product(recording, part, values, bias, block.into());
            put(
                recording,
                self.batch,
                self.columns,
                block,
                &part.columns,
                to,
            );
        }
        if !in_place {
            activation::forward(recording, len, sum.region, output);
        }
    }

    /// Records the weights' gradients, each piece's into its place, from the values on both sides.
    pub fn to_weights(
        &self,
        recording: &mut Recording,
        [rows, columns]: [&[Region]; 2],
        to: &Pieces,
        product: impl Fn(&mut Recording, &Part, [Region; 2], Region),
    ) {
        let values = rows.iter().zip(columns);
        for ((part, (&rows, &columns)), to) in self.parts.iter().zip(values).zip(to.regions()) {
            product(recording, part, [rows, columns], to);
        }
    }

    /// Where the gradient of the rows' bias goes: as the weights' is made, or by itself, as where these have none or
    /// lie in several pieces.
    pub fn bias_gradient(&self, places: &Backward) -> Result<[Option<Region>; 2]> {
        let (to, whole) = (places.to_parameter(1)?, self.parts.len() == 1);
        Ok(match whole && places.to_pieces(0).is_some() {
            true => [to, None],
            false => [None, to],
        })
    }

    /// The part of a bias for channels of a side.
    fn bias(
        &self,
        recording: &mut Recording,
        bias: Option<Region>,
        side: Side,
        channels: &Range<usize>,
    ) -> Option<Region> {
        let side = Side { area: 1, ..side };
        bias.map(|bias| take(recording, 1, side, bias, channels))
    }
}

/// The elements of an example that channels of a side are.
fn block(side: Side, channels: &Range<usize>) -> ([Block; 2], usize) {
    let within = Block {
        stride: side.channels * side.area,
        offset: channels.start * side.area,
    };
    let len = channels.len() * side.area;
    let alone = Block {
        stride: len,
        offset: 0,
    };
    ([within, alone], len)
}

/// Channels of values by themselves, or the values where that is all of them.
fn take(
    recording: &mut Recording,
    batch: usize,
    side: Side,
    values: Region,
    channels: &Range<usize>,
) -> Region {
    if channels.len() == side.channels {
        return values;
    }
    let ([from, to], len) = block(side, channels);
    let label = "channels of a block of weights";
    let copy = recording.buffer_of(values.format, label, batch * len, Storage::Transient);
    concat::copy(recording, [batch, len], (values, from), (copy.into(), to));
    copy
}

/// Puts channels where they belong, through the output's epilogue.
fn put(
    recording: &mut Recording,
    batch: usize,
    side: Side,
    values: Region,
    channels: &Range<usize>,
    output: Output,
) {
    let ([to, from], len) = block(side, channels);
    concat::copy(recording, [batch, len], (values, from), (output, to));
}
