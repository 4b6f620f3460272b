//! Windows that slide over planes, computed by direct sums.
//!
//! A task takes some images, or some rows of one. It copies their planes into zeros, so that no window ends outside,
//! and goes through its windows by [`COLUMNS`]: the numbers under them, tap by tap, are the product's operand B.

use std::borrow::Cow;
use std::ops::Range;

use super::parts::{Around, Part};
use super::sliding::{Phase, Sliding};
use crate::cpu::parallel::for_each_with;
use crate::cpu::product::{COLUMNS, ROWS, Row, rows_from, tile};
use crate::cpu::wide::{Work, widest};

/// Windows that a task takes at most, about: so many that what they read is in the cache for every filter.
const WINDOWS: usize = 192;

/// Tasks that there are at least, where there are as many images.
const TASKS: usize = 8;

/// Computes what [`Sliding::compute`] does.
pub(super) fn run(sliding: &Sliding, x: &[f32], bias: Option<&[f32]>, y: &mut [f32]) {
    let target = sliding.target;
    // Whole images where they are small, rows of one otherwise.
    let images = y.len() / (sliding.groups * sliding.to * target.area());
    let most = (WINDOWS / target.area()).max(1);
    let images = most.min((images / TASKS).max(1));
    let windows_of_row = target.width.div_ceil(sliding.spread.width);
    // A stride may be larger than any plane.
    let rows = WINDOWS
        .div_ceil(windows_of_row)
        .saturating_mul(sliding.spread.height)
        .min(target.height);
    let weights: Vec<_> = sliding.phases.iter().map(|p| sliding.weights(p)).collect();
    let parts = sliding.split([images, rows], x, y).into_iter();
    for_each_with(parts, Memory::default, |memory, part| {
        widest(Task {
            sliding,
            weights: &weights,
            bias,
            part,
            memory,
        });
    });
}

/// Where a window begins in the planes, which image it is of, and where its sum goes in the target's rows.
#[derive(Clone, Copy)]
pub(super) struct Window {
    pub from: usize,
    pub image: usize,
    pub to: usize,
}

/// Memory that a task leaves to the next.
#[derive(Default)]
struct Memory {
    planes: Planes,
    /// The numbers under [`COLUMNS`] windows, `(channel, tap, window)`.
    patches: Vec<Row>,
}

/// The planes of a group in zeros, `(image, channel, rows, columns)`.
#[derive(Default)]
pub(super) struct Planes {
    values: Vec<f32>,
    /// How far each row of B is from a window's place there.
    offsets: Vec<usize>,
}

/// The products of a part.
struct Task<'a> {
    sliding: &'a Sliding<'a>,
    /// Of each phase.
    weights: &'a [Cow<'a, [f32]>],
    bias: Option<&'a [f32]>,
    part: Part<'a>,
    memory: &'a mut Memory,
}

impl Work for Task<'_> {
    type Output = ();

    #[inline(always)]
    fn run(mut self) {
        let &Sliding { groups, to, .. } = self.sliding;
        let Memory { planes, patches } = self.memory;
        let Part { images, x, .. } = self.part;
        for (phase, weights) in self.sliding.phases.iter().zip(self.weights) {
            let (windows, around) = all(self.sliding, phase, images, self.part.rows.clone());
            for group in 0..groups {
                planes.gather(self.sliding, phase, group, (images, x), &around);
                let k = planes.rows();
                patches.resize(k + 1, [0.0; COLUMNS]);
                let mut filters = Filters {
                    count: to,
                    weights: &weights[group * to * k..][..to * k],
                    bias: self.bias.map(|bias| &bias[group * to..][..to]),
                    place: [group * to, groups * to],
                    targets: &mut self.part.targets,
                };
                for windows in windows.chunks(COLUMNS) {
                    planes.unfold(windows, patches);
                    filters.multiply(windows, &patches[..k]);
                }
            }
        }
    }
}

/// The windows of a phase whose targets lie in some rows of some images, and what they read of a plane.
pub(super) fn all(
    sliding: &Sliding,
    phase: &Phase,
    images: usize,
    rows: Range<usize>,
) -> (Vec<Window>, Around) {
    let &Sliding {
        from,
        step,
        spread,
        target,
        ..
    } = sliding;
    let extents = sliding.windows(phase, rows.clone());
    let around = sliding.around(phase, &extents);
    let (these, columns) = extents;
    let mut windows = Vec::with_capacity(images * these.len() * columns);
    for image in 0..images {
        for (i, row) in these.clone().enumerate() {
            let row = phase.origin.height + row * spread.height - rows.start;
            let place = image * from * around.area() + i * step.height * around.columns;
            windows.extend((0..columns).map(|j| Window {
                from: place + j * step.width,
                image,
                to: row * target.width + phase.origin.width + j * spread.width,
            }));
        }
    }
    (windows, around)
}

impl Planes {
    /// Rows of B.
    pub fn rows(&self) -> usize {
        self.offsets.len()
    }

    /// Copies a group's planes, and finds out how far the rows of B are from a window's place.
    #[inline(always)]
    pub fn gather(
        &mut self,
        sliding: &Sliding,
        phase: &Phase,
        group: usize,
        (images, x): (usize, &[f32]),
        around: &Around,
    ) {
        let &Sliding {
            groups,
            from,
            source,
            ..
        } = sliding;
        let Self { values, offsets } = self;
        let (area, count) = (around.area(), images * from);
        values.clear();
        values.resize(count * area + COLUMNS, 0.0);
        for (plane, copy) in values.chunks_exact_mut(area.max(1)).take(count).enumerate() {
            let channel = (plane / from * groups + group) * from + plane % from;
            let plane = &x[channel * source.area()..][..source.area()];
            around.copy(source, plane, copy);
        }
        let (down, right) = phase.first();
        offsets.clear();
        for c in 0..from {
            offsets.extend(phase.taps.iter().map(|tap| {
                c * area
                    + (tap.down - down) as usize * around.columns
                    + (tap.right - right) as usize
            }));
        }
    }

    /// Copies what is under these windows, a row for each of B; one more row is overwritten.
    #[inline(always)]
    pub fn unfold(&self, windows: &[Window], patches: &mut [Row]) {
        // Runs of windows side by side: the number of the first, and its place.
        let mut runs = [(0, 0); COLUMNS];
        let mut count = 0;
        for (at, window) in windows.iter().enumerate() {
            if at == 0 || window.from != windows[at - 1].from + 1 {
                runs[count] = (at, window.from);
                count += 1;
            }
        }
        let rows = self.offsets.iter().enumerate();
        if count <= 4 {
            // Each is copied as if it were a whole row: what is too much, the next ones overwrite.
            let patches = patches.as_flattened_mut();
            for (row, offset) in rows {
                for &(at, from) in &runs[..count] {
                    let to = &mut patches[row * COLUMNS + at..][..COLUMNS];
                    to.copy_from_slice(&self.values[offset + from..][..COLUMNS]);
                }
            }
        } else {
            for (row, offset) in rows {
                for (to, window) in patches[row].iter_mut().zip(windows) {
                    *to = self.values[offset + window.from];
                }
            }
        }
    }
}

/// Filters that are multiplied with what is under windows, and where the sums go.
pub(super) struct Filters<'a, 'b> {
    pub count: usize,
    /// `(m, row of B)`.
    pub weights: &'a [f32],
    /// Of each of these.
    pub bias: Option<&'a [f32]>,
    /// Among the targets of an image, the first filter's, and how many these are.
    pub place: [usize; 2],
    pub targets: &'a mut [&'b mut [f32]],
}

impl Filters<'_, '_> {
    /// The products with what is under up to [`COLUMNS`] windows.
    #[inline(always)]
    pub fn multiply(&mut self, windows: &[Window], b: &[Row]) {
        let [first_target, pitch] = self.place;
        let (k, count) = (b.len(), self.count);
        let neighbours = |a: &Window, b: &Window| a.image == b.image && a.to + 1 == b.to;
        for first in (0..count).step_by(ROWS) {
            let mut sums = tile(rows_from(self.weights, [count, k], first), b);
            for (m, sums) in (first..count).zip(&mut sums) {
                if let Some(bias) = self.bias {
                    sums.iter_mut().for_each(|sum| *sum += bias[m]);
                }
                let mut sums = &sums[..windows.len()];
                for run in windows.chunk_by(neighbours) {
                    let target = run[0].image * pitch + first_target + m;
                    let target = &mut self.targets[target][run[0].to..][..run.len()];
                    let (these, rest) = sums.split_at(run.len());
                    match (
                        <&mut [f32; COLUMNS]>::try_from(&mut *target),
                        these.try_into(),
                    ) {
                        (Ok(target), Ok(these)) => *target = these,
                        _ => target.copy_from_slice(these),
                    }
                    sums = rest;
                }
            }
        }
    }
}
