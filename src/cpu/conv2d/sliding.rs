//! Convolution and its input gradient in `f32`: windows that slide over planes.
//!
//! Both are `y[n,m,window] = sum over c and taps of W[m,c,tap] * x[n,c, window * step + tap's offset]`. The input
//! gradient of a convolution with a stride is one of these for each *phase*, each remainder of the input's pixels by
//! the stride, with those taps that meet it.
//!
//! How they are computed is in [`windows`](super::windows), where there are few of them in [`few`], and where that takes
//! fewer multiplications in [`winograd`].

use std::borrow::Cow;
use std::ops::Range;

use super::parts::{Around, Part, split};
use super::taps::{Tap, taps, weights};
use super::{all_finite, few, windows, winograd};
use crate::op::{Conv2dGeometry, Size2};

/// Phases that are worth their own pass over the planes.
const PHASES: usize = 64;

/// Rows of B at most.
const LONGEST: usize = 1 << 16;

/// The windows of one remainder by the target's spread.
pub(super) struct Phase {
    pub taps: Vec<Tap>,
    /// The first row and column of the target that is one of them.
    pub origin: Size2,
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
    pub step: Size2,
    pub spread: Size2,
    pub phases: Vec<Phase>,
    /// The convolution's weights, and the taps of one of its filters.
    pub w: &'a [f32],
    pub area: usize,
    /// Whether the filters' channels are the ones that are computed.
    pub is_transposed: bool,
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
            }],
            w,
            area: geometry.kernel.area(),
            is_transposed: false,
        };
        sliding.is_dense(geometry).then_some(sliding)
    }

    /// The input gradient, from the output's.
    pub fn backward_input(geometry: &Conv2dGeometry, w: &'a [f32]) -> Option<Self> {
        let (inputs, outputs) = channels(geometry);
        let Size2 { height, width } = geometry.stride;
        let most = Size2 {
            height: height.min(geometry.in_size.height),
            width: width.min(geometry.in_size.width),
        };
        // Zeros beside the planes are multiplied too, which a weight that is not finite would not leave zero.
        if most.area() > PHASES || !all_finite(w) {
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
            w,
            area: geometry.kernel.area(),
            is_transposed: true,
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
            sliding.phases.push(Phase {
                taps: taps.collect(),
                origin: [i, j].into(),
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
    pub fn windows(&self, phase: &Phase, rows: Range<usize>) -> (Range<usize>, usize) {
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
        if !few::run(self, x, bias, y) {
            windows::run(self, x, bias, y);
        }
    }

    /// Parts of so many images, and so many rows of their planes.
    pub fn split<'b>(&self, extents: [usize; 2], x: &'b [f32], y: &'b mut [f32]) -> Vec<Part<'b>> {
        let len = self.groups * self.from * self.source.area();
        split(extents, (x, len), (y, self.groups * self.to, self.target))
    }

    /// What the windows of a phase read.
    pub fn around(&self, phase: &Phase, (rows, columns): &(Range<usize>, usize)) -> Around {
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

    /// How many rows and columns the taps of the one phase there is make up, side by side, in steps of 1.
    pub fn extents(&self) -> Option<[usize; 2]> {
        let places = self.places();
        let rows = places.iter().map(|&(p, _)| p + 1).max()?;
        let columns = places.iter().map(|&(_, q)| q + 1).max()?;
        let are_all = self.phases.len() == 1
            && [self.step, self.spread] == [1.into(); 2]
            && Some(places.len()) == rows.checked_mul(columns);
        are_all.then_some([rows, columns])
    }

    /// The row and column of each tap of the first phase.
    pub fn places(&self) -> Vec<(usize, usize)> {
        let phase = &self.phases[0];
        let (down, right) = phase.first();
        let places = phase
            .taps
            .iter()
            .map(|tap| ((tap.down - down) as usize, (tap.right - right) as usize));
        places.collect()
    }

    /// A phase's weights, `(group, m, c, tap)`.
    pub fn weights(&self, phase: &Phase) -> Cow<'a, [f32]> {
        match self.is_transposed {
            false => self.w.into(),
            true => {
                let extents = [self.to, self.from];
                weights(self.groups, extents, (&phase.taps, self.area), self.w).into()
            }
        }
    }

    /// Where in the source the first tap of the first window is.
    pub fn first(&self) -> (isize, isize) {
        self.phases[0].first()
    }
}

impl Phase {
    /// How far up and left its taps reach.
    pub fn first(&self) -> (isize, isize) {
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
