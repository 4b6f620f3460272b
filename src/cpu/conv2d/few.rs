//! Few windows and many filters, computed by direct sums.
//!
//! The images of a network's last layers are small and their filters many. So the numbers under all windows are
//! gathered once, and a task takes some of the filters, so few that a core's cache keeps them from panel to panel.

use super::parts::Around;
use super::sliding::{Phase, Sliding};
use super::taps::{FILTERS, gather};
use super::windows::{Filters, Planes, Window, all};
use crate::cpu::parallel::{for_each, for_each_with};
use crate::cpu::product::{COLUMNS, Row};
use crate::cpu::wide::{Work, widest};

/// Windows at most, of all images.
pub(super) const WINDOWS: usize = 256;

/// Tasks that there are at most, of which each reads all that is under the windows.
const TASKS: usize = 8;

/// Filters of a group at least: so many that there is a task for each of some cores.
const LEAST: usize = 4 * FILTERS;

/// Numbers under all windows at most, and of the planes that they slide over: what a few cores' caches hold.
const NUMBERS: usize = 1 << 20;

/// Computes what [`Sliding::compute`] does, where the windows are few and the filters many; gives whether they are.
pub(super) fn run(sliding: &Sliding, x: &[f32], bias: Option<&[f32]>, y: &mut [f32]) -> bool {
    let &Sliding {
        groups,
        from,
        to,
        target,
        ..
    } = sliding;
    let area = target.area();
    let images = y.len() / (groups * to * area);
    let is_few = images * area <= WINDOWS && to >= LEAST;
    if !is_few || images * area * from * sliding.area > NUMBERS {
        return false;
    }
    let windows_of = |phase| (phase, all(sliding, phase, images, 0..target.height));
    let phases: Vec<_> = sliding.phases.iter().map(windows_of).collect();
    let numbers = |around: &Around| around.area().saturating_mul(images * from);
    if phases
        .iter()
        .any(|(_, (_, around))| numbers(around) > NUMBERS)
    {
        return false;
    }
    let (mut planes, mut panels) = (Planes::default(), Vec::new());
    for (phase, (windows, around)) in &phases {
        for group in 0..groups {
            planes.gather(sliding, phase, group, (images, x), around);
            let k = planes.rows();
            panels.resize(windows.len().div_ceil(COLUMNS) * (k + 1), [0.0; COLUMNS]);
            let chunks = panels.chunks_exact_mut(k + 1);
            for_each(chunks.zip(windows.chunks(COLUMNS)), |(panel, windows)| {
                planes.unfold(windows, panel);
            });
            // Some filters' planes in each image.
            let filters = to.div_ceil(TASKS).next_multiple_of(FILTERS);
            let mut tasks: Vec<_> = (0..to.div_ceil(filters)).map(|_| vec![]).collect();
            for y in y.chunks_exact_mut(groups * to * area) {
                let planes = y[group * to * area..][..to * area].chunks_exact_mut(area);
                for (m, plane) in planes.enumerate() {
                    tasks[m / filters].push(plane);
                }
            }
            let tasks = tasks.into_iter().enumerate();
            for_each_with(tasks, Vec::new, |memory, (at, targets)| {
                widest(Task {
                    sliding,
                    phase,
                    group,
                    first: at * filters,
                    count: targets.len() / images,
                    bias,
                    windows,
                    panels: &panels,
                    targets,
                    memory,
                });
            });
        }
    }
    true
}

/// Some filters of a group.
struct Task<'a> {
    sliding: &'a Sliding<'a>,
    phase: &'a Phase,
    group: usize,
    first: usize,
    count: usize,
    bias: Option<&'a [f32]>,
    windows: &'a [Window],
    /// What is under the windows, and a row more for each panel.
    panels: &'a [Row],
    /// `(image, m)`.
    targets: Vec<&'a mut [f32]>,
    /// For filters that do not lie in memory as they are read.
    memory: &'a mut Vec<f32>,
}

impl Work for Task<'_> {
    type Output = ();

    #[inline(always)]
    fn run(mut self) {
        let &Sliding {
            from,
            to,
            w,
            area,
            is_transposed,
            ..
        } = self.sliding;
        let (taps, count) = (&self.phase.taps[..], self.count);
        let k = from * taps.len();
        let w = &w[self.group * to * from * area..][..to * from * area];
        let weights = match is_transposed {
            false => &w[self.first * k..][..count * k],
            true => {
                self.memory.resize(count * k, 0.0);
                gather([self.first, to], (taps, area), w, self.memory);
                self.memory
            }
        };
        let mut filters = Filters {
            count,
            weights,
            bias: self.bias.map(|bias| &bias[self.group * to + self.first..]),
            place: [0, count],
            targets: &mut self.targets,
        };
        let panels = self.panels.chunks_exact(k + 1);
        for (windows, panel) in self.windows.chunks(COLUMNS).zip(panels) {
            filters.multiply(windows, &panel[..k]);
        }
    }
}
