//! Convolution and its input gradient in `f32`: windows that slide over planes.
//!
//! Both are `y[n,m,window] = sum over c and taps of W[m,c,tap] * x[n,c, window * step + tap's offset]`. The input
//! gradient of a convolution with a stride is one of these for each *phase*, each remainder of the input's pixels by
//! the stride, with those taps that meet it.
//!
//! A task takes some images, or some rows of one. It copies their planes into zeros, so that no window ends outside,
//! and goes through its windows by [`COLUMNS`]: the numbers under them, tap by tap, are the product's operand B.

use std::borrow::Cow;
use std::ops::Range;

use super::parts::{Around, Part, split};
use super::taps::{Tap, taps, weights};
use super::winograd;
use crate::cpu::parallel::for_each_with;
use crate::cpu::product::{COLUMNS, ROWS, rows_from, tile};
use crate::cpu::wide::{Work, widest};
use crate::op::{Conv2dGeometry, Size2};

/// Windows that a task takes, about: so many that what they read is in the cache for every filter.
const WINDOWS: usize = 192;

/// Phases that are worth their own pass over the planes.
const PHASES: usize = 64;

/// Rows of B at most.
const LONGEST: usize = 1 << 16;

/// The windows of one remainder by the target's spread.
struct Phase<'a> {
    taps: Vec<Tap>,
    /// The first row and column of the target that is one of them.
    origin: Size2,
    /// `(group, m, c, tap)`.
    weights: Cow<'a, [f32]>,
}

/// What is computed from what.
pub(super) struct Sliding<'a> {
    pub groups: usize,
    /// Channels of a group.
    pub from: usize,
    pub to: usize,
    pub source: Size2,
    pub target: Size2,
    /// From one window to the next, in the source and in the target.
    step: Size2,
    spread: Size2,
    phases: Vec<Phase<'a>>,
}

impl<'a> Sliding<'a> {
    /// The convolution.
    pub fn forward(geometry: &Conv2dGeometry, w: &'a [f32]) -> Option<Self> {
        let [top, _, left, _] = geometry.padding.map(|extent| extent as isize);
        let taps = taps(geometry).map(|(at, p, q)| Tap {
            at,
            down: p as isize - top,
            right: q as isize - left,
        });
        let (inputs, outputs) = channels(geometry);
        let sliding = Self {
            groups: geometry.groups,
            from: inputs,
            to: outputs,
            source: geometry.in_size,
            target: geometry.out_size,
            step: geometry.stride,
            spread: 1.into(),
            phases: vec![Phase {
                taps: taps.collect(),
                origin: [0, 0].into(),
                weights: w.into(),
            }],
        };
        sliding.is_dense(geometry).then_some(sliding)
    }

    /// The input gradient, from the output's.
    pub fn backward_input(geometry: &Conv2dGeometry, w: &[f32]) -> Option<Self> {
        let (inputs, outputs) = channels(geometry);
        let Size2 { height, width } = geometry.stride;
        let area = geometry.kernel.area();
        let most = Size2 {
            height: height.min(geometry.in_size.height),
            width: width.min(geometry.in_size.width),
        };
        // Zeros beside the planes are multiplied too, which a weight that is not finite would not leave zero.
        if most.area() > PHASES || w.iter().any(|w| !w.is_finite()) {
            return None;
        }
        let mut sliding = Self {
            groups: geometry.groups,
            from: outputs,
            to: inputs,
            source: geometry.out_size,
            target: geometry.in_size,
            step: 1.into(),
            spread: geometry.stride,
            phases: vec![],
        };
        for (i, j) in (0..most.height).flat_map(|i| (0..most.width).map(move |j| (i, j))) {
            // The output whose tap lies on input pixel i + height * u is u + down, where the stride divides.
            let exact = |at: usize, before: usize, tap: usize, stride: usize| {
                let (far, stride) = ((at + before) as isize - tap as isize, stride as isize);
                (far.rem_euclid(stride) == 0).then(|| far.div_euclid(stride))
            };
            let taps = taps(geometry).filter_map(|(at, p, q)| {
                let down = exact(i, geometry.padding[0], p, height)?;
                let right = exact(j, geometry.padding[2], q, width)?;
                Some(Tap { at, down, right })
            });
            let taps: Vec<_> = taps.collect();
            let weights = weights(geometry.groups, [inputs, outputs], (&taps, area), w);
            sliding.phases.push(Phase {
                taps,
                origin: [i, j].into(),
                weights: weights.into(),
            });
        }
        sliding.is_dense(geometry).then_some(sliding)
    }

    /// Whether the zeros around the planes are few beside what there is to read and to multiply, and B's rows too.
    fn is_dense(&self, geometry: &Conv2dGeometry) -> bool {
        let mut products = 0usize;
        for phase in &self.phases {
            let windows = self.windows(phase, 0..self.target.height);
            let area = self.around(phase, &windows).area();
            let k = phase.taps.len().saturating_mul(self.from);
            if area > 64 + 4 * (self.source.area() + self.target.area()) || k > LONGEST {
                return false;
            }
            let windows = windows.0.len() * windows.1;
            products = products.saturating_add(windows.saturating_mul(phase.taps.len()));
        }
        let direct = geometry
            .out_size
            .area()
            .saturating_mul(geometry.kernel.area());
        products <= direct.saturating_mul(3)
    }

    /// The windows of a phase whose targets lie in these rows: their rows and how many columns.
    fn windows(&self, phase: &Phase, rows: Range<usize>) -> (Range<usize>, usize) {
        let before = |end: usize| {
            let rows = end.saturating_sub(phase.origin.height);
            rows.div_ceil(self.spread.height)
        };
        let columns = self.target.width.saturating_sub(phase.origin.width);
        (
            before(rows.start)..before(rows.end),
            columns.div_ceil(self.spread.width),
        )
    }

    /// Computes `y (N, groups * to, target)` from `x (N, groups * from, source)`, and adds the bias of each channel.
    pub fn compute(&self, direct_only: bool, x: &[f32], bias: Option<&[f32]>, y: &mut [f32]) {
        let fast = match direct_only {
            true => None,
            false => winograd::run(self, x, bias, y),
        };
        match fast {
            Some(true) => {}
            Some(false) => {
                let mut direct = vec![0.0; y.len()];
                self.run(x, bias, &mut direct);
                winograd::replace(y, &direct);
            }
            None => self.run(x, bias, y),
        }
    }

    /// The same by direct sums.
    fn run(&self, x: &[f32], bias: Option<&[f32]>, y: &mut [f32]) {
        // Whole images where they are small, rows of one otherwise.
        let images = (WINDOWS / self.target.area()).max(1);
        let windows_of_row = self.target.width.div_ceil(self.spread.width);
        // A stride may be larger than any plane.
        let rows = WINDOWS
            .div_ceil(windows_of_row)
            .saturating_mul(self.spread.height)
            .min(self.target.height);
        let parts = self.split([images, rows], x, y).into_iter();
        for_each_with(parts, Memory::default, |memory, part| {
            widest(Task {
                sliding: self,
                bias,
                part,
                memory,
            });
        });
    }

    /// Parts of so many images, and so many rows of their planes.
    pub fn split<'b>(&self, extents: [usize; 2], x: &'b [f32], y: &'b mut [f32]) -> Vec<Part<'b>> {
        let len = self.groups * self.from * self.source.area();
        split(extents, (x, len), (y, self.groups * self.to, self.target))
    }

    /// What the windows of a phase read.
    fn around(&self, phase: &Phase, (rows, columns): &(Range<usize>, usize)) -> Around {
        let span = |offsets: &mut dyn Iterator<Item = isize>, first: usize, count: usize, step| {
            let (least, most) = offsets.fold((isize::MAX, isize::MIN), |(least, most), offset| {
                (least.min(offset), most.max(offset))
            });
            if least > most || count == 0 {
                return (0, 0);
            }
            let extent = (most - least) as usize + (count - 1) * step + 1;
            (least + (first * step) as isize, extent)
        };
        let (height, width) = (self.step.height, self.step.width);
        let (down, rows) = span(
            &mut phase.taps.iter().map(|tap| tap.down),
            rows.start,
            rows.len(),
            height,
        );
        let (right, columns) = span(
            &mut phase.taps.iter().map(|tap| tap.right),
            0,
            *columns,
            width,
        );
        Around {
            down,
            right,
            rows,
            columns,
        }
    }

    /// The extent of the square that the taps of the one phase there is make up, side by side, in steps of 1.
    pub fn square(&self) -> Option<usize> {
        let (places, _) = self.filters();
        let extent = places.len().isqrt();
        let inside = |&(p, q): &(usize, usize)| p < extent && q < extent;
        let is_square = self.phases.len() == 1
            && [self.step, self.spread] == [1.into(); 2]
            && places.len() == extent * extent
            && places.iter().all(inside);
        is_square.then_some(extent)
    }

    /// The first phase's filters, `(group, m, c, tap)`, and the row and column of each of its taps.
    pub fn filters(&self) -> (Vec<(usize, usize)>, &[f32]) {
        let phase = &self.phases[0];
        let (down, right) = phase.first();
        let places = phase
            .taps
            .iter()
            .map(|tap| ((tap.down - down) as usize, (tap.right - right) as usize));
        (places.collect(), &phase.weights)
    }

    /// Where in the source the first tap of the first window is.
    pub fn first(&self) -> (isize, isize) {
        self.phases[0].first()
    }
}

impl Phase<'_> {
    /// How far up and left its taps reach.
    fn first(&self) -> (isize, isize) {
        let down = self.taps.iter().map(|tap| tap.down).min();
        let right = self.taps.iter().map(|tap| tap.right).min();
        (down.unwrap_or(0), right.unwrap_or(0))
    }
}

/// Input and output channels of a group.
fn channels(geometry: &Conv2dGeometry) -> (usize, usize) {
    let groups = geometry.groups;
    (
        geometry.in_channels / groups,
        geometry.out_channels / groups,
    )
}

/// Memory that a task leaves to the next.
#[derive(Default)]
struct Memory {
    /// The planes of a group in their zeros, `(image, channel, rows, columns)`.
    planes: Vec<f32>,
    /// How far each row of B is from a window's place there.
    offsets: Vec<usize>,
    /// The numbers under [`COLUMNS`] windows, `(channel, tap, window)`.
    patches: Vec<f32>,
}

/// The products of a part.
struct Task<'a> {
    sliding: &'a Sliding<'a>,
    bias: Option<&'a [f32]>,
    part: Part<'a>,
    memory: &'a mut Memory,
}

impl Work for Task<'_> {
    type Output = ();

    #[inline(always)]
    fn run(mut self) {
        for phase in &self.sliding.phases {
            let windows = self.sliding.windows(phase, self.part.rows.clone());
            let around = self.sliding.around(phase, &windows);
            let images = self.part.images;
            let windows = self.all(phase, windows, images, &around);
            for group in 0..self.sliding.groups {
                self.gather(phase, group, images, &around);
                self.multiply(phase, group, &windows);
            }
        }
    }
}

/// Where a window begins in the planes, which image it is of, and where its sum goes in the target's rows.
#[derive(Clone, Copy)]
struct Window {
    from: usize,
    image: usize,
    to: usize,
}

impl Task<'_> {
    fn all(
        &self,
        phase: &Phase,
        (rows, columns): (Range<usize>, usize),
        images: usize,
        around: &Around,
    ) -> Vec<Window> {
        let &Sliding {
            from,
            step,
            spread,
            target,
            ..
        } = self.sliding;
        let mut windows = Vec::with_capacity(images * rows.len() * columns);
        for image in 0..images {
            for (i, row) in rows.clone().enumerate() {
                let row = phase.origin.height + row * spread.height - self.part.rows.start;
                let place = image * from * around.area() + i * step.height * around.columns;
                windows.extend((0..columns).map(|j| Window {
                    from: place + j * step.width,
                    image,
                    to: row * target.width + phase.origin.width + j * spread.width,
                }));
            }
        }
        windows
    }

    /// Copies a group's planes into zeros, and finds out how far the rows of B are from a window's place.
    #[inline(always)]
    fn gather(&mut self, phase: &Phase, group: usize, images: usize, around: &Around) {
        let &Sliding {
            groups,
            from,
            source,
            ..
        } = self.sliding;
        let Memory {
            planes, offsets, ..
        } = &mut *self.memory;
        let (area, count) = (around.area(), images * from);
        planes.clear();
        planes.resize(count * area + COLUMNS, 0.0);
        for (plane, copy) in planes.chunks_exact_mut(area.max(1)).take(count).enumerate() {
            let channel = (plane / from * groups + group) * from + plane % from;
            around.copy(
                source,
                &self.part.x[channel * source.area()..][..source.area()],
                copy,
            );
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

    /// The product of a group's weights and what is under its windows.
    #[inline(always)]
    fn multiply(&mut self, phase: &Phase, group: usize, windows: &[Window]) {
        let to = self.sliding.to;
        let Memory {
            planes,
            offsets,
            patches,
        } = &mut *self.memory;
        let k = offsets.len();
        let weights = &phase.weights[group * to * k..][..to * k];
        patches.resize(k * COLUMNS + COLUMNS, 0.0);
        for windows in windows.chunks(COLUMNS) {
            unfold(windows, offsets, planes, patches);
            let b = &patches.as_chunks().0[..k];
            let neighbours = |a: &Window, b: &Window| a.image == b.image && a.to + 1 == b.to;
            for first in (0..to).step_by(ROWS) {
                let mut sums = tile(rows_from(weights, [to, k], first), b);
                for (channel, sums) in (first..to).zip(&mut sums) {
                    let channel = group * to + channel;
                    if let Some(bias) = self.bias {
                        sums.iter_mut().for_each(|sum| *sum += bias[channel]);
                    }
                    let mut sums = &sums[..windows.len()];
                    for run in windows.chunk_by(neighbours) {
                        let target = run[0].image * self.sliding.groups * to + channel;
                        let target = &mut self.part.targets[target][run[0].to..][..run.len()];
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
}

/// Copies what is under these windows, for each offset a row of [`COLUMNS`].
#[inline(always)]
fn unfold(windows: &[Window], offsets: &[usize], planes: &[f32], patches: &mut [f32]) {
    // Runs of windows side by side: the number of the first, and its place.
    let mut runs = [(0, 0); COLUMNS];
    let mut count = 0;
    for (at, window) in windows.iter().enumerate() {
        if at == 0 || window.from != windows[at - 1].from + 1 {
            runs[count] = (at, window.from);
            count += 1;
        }
    }
    let rows = offsets.iter().enumerate();
    if count <= 4 {
        // Each is copied as if it were a whole row: what is too much, the next ones overwrite.
        for (row, offset) in rows {
            for &(at, from) in &runs[..count] {
                let to = &mut patches[row * COLUMNS + at..][..COLUMNS];
                to.copy_from_slice(&planes[offset + from..][..COLUMNS]);
            }
        }
    } else {
        for (row, offset) in rows {
            let row = &mut patches[row * COLUMNS..][..COLUMNS];
            for (to, window) in row.iter_mut().zip(windows) {
                *to = planes[offset + window.from];
            }
        }
    }
}
