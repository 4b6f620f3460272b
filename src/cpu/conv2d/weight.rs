//! The weight gradient of a convolution in `f32`: a product of unfolded patches and output gradients, over pixels.
//!
//! A task takes some channels of some images. The pixels of a few images, or of a few rows of one, are gathered at a
//! time: of each tap those that it meets, and of each filter its output gradients. Then each pair is multiplied. What
//! the tasks of the same channels have come to is added up in the order of the images.

use std::ops::Range;

use super::{Sizes, unfold_rows};
use crate::cpu::parallel::{for_each, for_each_with};
use crate::cpu::product::{COLUMNS, ROWS, Row, multiply, rows_from, tile, turn};
use crate::cpu::wide::{Work, widest};
use crate::op::Conv2dGeometry;

/// Taps, of all channels of a task, that share the output gradients that are gathered.
const TAPS: usize = 64;

/// Filters of a group from which on those of few pixels are shared out.
const FILTERS: usize = 64;

/// Numbers that are gathered of few pixels at most.
const NUMBERS: usize = 1 << 20;

/// Pixels that are gathered at a time, about: as much as the cache holds of them.
const PIXELS: usize = 256;

/// Tasks that there are at least, where there are as many images: enough for many cores.
const TASKS: usize = 32;

/// Sums of all tasks together, beyond which the images are not divided.
const MOST: usize = 1 << 21;

/// As [`super::conv2d_backward_weight`], of slices that have the geometry's lengths.
pub(super) fn backward_weight(
    geometry: &Conv2dGeometry,
    sizes: Sizes,
    x: &[f32],
    gy: &[f32],
    gw: &mut [f32],
) {
    let Sizes {
        taps,
        group_inputs,
        group_outputs,
        ..
    } = sizes;
    let pixels = geometry.batch * geometry.out_size.area();
    if pixels <= PIXELS && group_outputs >= FILTERS && group_inputs * taps * pixels <= NUMBERS {
        return at_once(geometry, sizes, [x, gy], gw);
    }
    let channels = (TAPS / taps).clamp(1, group_inputs);
    let blocks = group_inputs.div_ceil(channels);
    let len = group_outputs.next_multiple_of(COLUMNS) * channels * taps;
    // Tasks, if each had all images.
    let least = geometry.groups * blocks;
    let most = (MOST / (least * len)).max(1);
    let parts = TASKS.div_ceil(least).min(geometry.batch).min(most);
    let images = geometry.batch.div_ceil(parts);
    let shares = Shares {
        channels,
        blocks,
        images,
        parts: geometry.batch.div_ceil(images),
        len,
    };
    match shares.parts == 1 && pixels <= PIXELS {
        // Each sum is made at once.
        true => shares.sum::<f32>(geometry, sizes, [x, gy], gw),
        false => shares.sum::<f64>(geometry, sizes, [x, gy], gw),
    }
}

/// Of few pixels each sum is made at once, and a task takes some filters.
fn at_once(geometry: &Conv2dGeometry, sizes: Sizes, [x, gy]: [&[f32]; 2], gw: &mut [f32]) {
    let Sizes {
        inputs,
        outputs,
        taps,
        group_inputs,
        group_outputs,
    } = sizes;
    let pixels = geometry.batch * outputs;
    let columns = group_inputs * taps;
    let mut gradients = vec![0.0; group_outputs * pixels];
    let mut panels = vec![[0.0; COLUMNS]; columns.div_ceil(COLUMNS) * pixels];
    for (group, gw) in gw.chunks_exact_mut(group_outputs * columns).enumerate() {
        for (o, to) in gradients.chunks_exact_mut(pixels).enumerate() {
            for (image, to) in to.chunks_exact_mut(outputs).enumerate() {
                let plane = image * geometry.out_channels + group * group_outputs + o;
                to.copy_from_slice(&gy[plane * outputs..][..outputs]);
            }
        }
        // The taps of 16 channels fill as many panels as there are taps.
        let panel = panels.chunks_mut(taps * pixels).enumerate();
        for_each_with(panel, Vec::new, |patches: &mut Vec<f32>, (at, panels)| {
            let channels = at * COLUMNS..group_inputs.min((at + 1) * COLUMNS);
            patches.clear();
            patches.resize(channels.len() * taps * pixels, 0.0);
            for (channel, to) in channels.zip(patches.chunks_exact_mut(taps * pixels)) {
                for image in 0..geometry.batch {
                    let plane = image * geometry.in_channels + group * group_inputs + channel;
                    let x = &x[plane * inputs..][..inputs];
                    let to = &mut to[image * outputs..];
                    let all = (0..taps, 0..geometry.out_size.height);
                    unfold_rows(geometry, all, x, pixels, to);
                }
            }
            let rows = patches.chunks(COLUMNS * pixels);
            for (rows, panel) in rows.zip(panels.chunks_exact_mut(pixels)) {
                turn(pixels, rows, panel);
            }
        });
        multiply([group_outputs, pixels], &gradients, &panels, gw, columns);
    }
}

/// How the sums are shared out.
struct Shares {
    /// Channels of a task, and the tasks of a group if each had all images.
    channels: usize,
    blocks: usize,
    /// Images of a task, and the tasks that have the same channels.
    images: usize,
    parts: usize,
    /// Sums of a task.
    len: usize,
}

/// What a task's sums are added up in.
trait Total: Copy + Default + Send + Sync + Into<f64> {
    fn add(&mut self, sum: f32);
}

impl Total for f32 {
    #[inline(always)]
    fn add(&mut self, sum: f32) {
        *self += sum;
    }
}

impl Total for f64 {
    #[inline(always)]
    fn add(&mut self, sum: f32) {
        *self += f64::from(sum);
    }
}

impl Shares {
    fn sum<T: Total>(
        &self,
        geometry: &Conv2dGeometry,
        sizes: Sizes,
        [x, gy]: [&[f32]; 2],
        gw: &mut [f32],
    ) {
        let &Self {
            channels,
            blocks,
            images,
            parts,
            len,
        } = self;
        let Sizes {
            taps,
            group_inputs,
            group_outputs,
            ..
        } = sizes;
        let mut totals = vec![T::default(); geometry.groups * blocks * parts * len];
        let tasks = totals.chunks_exact_mut(len).enumerate();
        for_each_with(tasks, Memory::default, |memory, (at, totals)| {
            let (group, first) = (at / parts / blocks, at / parts % blocks * channels);
            let start = at % parts * images;
            widest(Task {
                geometry,
                sizes,
                x,
                gy,
                group,
                channels: first..group_inputs.min(first + channels),
                images: start..geometry.batch.min(start + images),
                totals,
                memory,
            });
        });
        // A task's totals are `(o / COLUMNS, c, tap, o % COLUMNS)`, of its channels.
        let (row, panel) = (group_inputs * taps, channels * taps * COLUMNS);
        let totals = totals.chunks_exact(blocks * parts * len);
        let groups = gw.chunks_exact_mut(group_outputs * row).zip(totals);
        let panels = groups.flat_map(|(gw, totals)| {
            let panels = gw.chunks_mut(COLUMNS * row).enumerate();
            panels.map(move |(at, gw)| (at * panel, gw, totals))
        });
        for_each(panels, |(first, gw, totals)| {
            for (block, totals) in totals.chunks_exact(parts * len).enumerate() {
                let start = block * channels * taps;
                for (at, column) in (start..row.min(start + channels * taps)).enumerate() {
                    let mut sums = [0.0; COLUMNS];
                    for totals in totals.chunks_exact(len) {
                        let totals = &totals[first + at * COLUMNS..][..COLUMNS];
                        for (sum, &total) in sums.iter_mut().zip(totals) {
                            *sum += total.into();
                        }
                    }
                    for (gw, sum) in gw[column..].iter_mut().step_by(row).zip(sums) {
                        *gw = sum as f32;
                    }
                }
            }
        });
    }
}

/// Memory that a task leaves to the next.
#[derive(Default)]
struct Memory {
    /// `(c, tap, pixel)`.
    patches: Vec<f32>,
    /// `(o, pixel)`.
    gradients: Vec<f32>,
    /// `(pixel, o)` of some of these.
    panels: Vec<Row>,
}

/// The sums over some images, for some channels of a group.
struct Task<'a, T> {
    geometry: &'a Conv2dGeometry,
    sizes: Sizes,
    x: &'a [f32],
    gy: &'a [f32],
    group: usize,
    channels: Range<usize>,
    images: Range<usize>,
    /// `(o / COLUMNS, c, tap, o % COLUMNS)`.
    totals: &'a mut [T],
    memory: &'a mut Memory,
}

impl<T: Total> Work for Task<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run(mut self) {
        let size = self.geometry.out_size;
        let most = PIXELS;
        // Some images with all their rows, or some rows of one.
        let images = (most / size.area()).max(1);
        let rows = (most / size.width).clamp(1, size.height);
        for start in self.images.clone().step_by(images) {
            let images = start..self.images.end.min(start + images);
            for row in (0..size.height).step_by(rows) {
                self.add(images.clone(), row..size.height.min(row + rows));
            }
        }
    }
}

impl<T: Total> Task<'_, T> {
    /// Adds the sums over these rows of these images.
    #[inline(always)]
    fn add(&mut self, images: Range<usize>, rows: Range<usize>) {
        let Sizes {
            outputs,
            taps,
            group_outputs,
            ..
        } = self.sizes;
        let width = self.geometry.out_size.width;
        let (first, area) = (rows.start * width, rows.len() * width);
        let pixels = images.len() * area;
        let gradients = &mut self.memory.gradients;
        gradients.resize(group_outputs * pixels, 0.0);
        for (at, image) in images.clone().enumerate() {
            for (o, to) in gradients.chunks_exact_mut(pixels).enumerate() {
                let plane = image * self.geometry.out_channels + self.group * group_outputs + o;
                let from = &self.gy[plane * outputs + first..][..area];
                to[at * area..][..area].copy_from_slice(from);
            }
        }
        // A filter of more taps has a task for each channel.
        for first in (0..taps).step_by(TAPS) {
            let taps = first..taps.min(first + TAPS);
            self.gather(images.clone(), rows.clone(), taps.clone());
            self.multiply(pixels, taps);
        }
    }

    /// Gathers the pixels of some taps.
    #[inline(always)]
    fn gather(&mut self, images: Range<usize>, rows: Range<usize>, taps: Range<usize>) {
        let Sizes {
            inputs,
            group_inputs,
            ..
        } = self.sizes;
        let area = rows.len() * self.geometry.out_size.width;
        let pixels = images.len() * area;
        let patches = &mut self.memory.patches;
        patches.clear();
        patches.resize(self.channels.len() * taps.len() * pixels, 0.0);
        for (at, image) in images.enumerate() {
            let channels = patches.chunks_exact_mut(taps.len() * pixels);
            for (channel, to) in self.channels.clone().zip(channels) {
                let plane = image * self.geometry.in_channels + self.group * group_inputs + channel;
                let x = &self.x[plane * inputs..][..inputs];
                let to = &mut to[at * area..];
                unfold_rows(self.geometry, (taps.clone(), rows.clone()), x, pixels, to);
            }
        }
    }

    /// Adds the products with each filter's gradients.
    #[inline(always)]
    fn multiply(&mut self, pixels: usize, taps: Range<usize>) {
        let Memory {
            patches,
            gradients,
            panels,
        } = &mut *self.memory;
        let columns = self.channels.len() * taps.len();
        panels.resize(pixels, [0.0; COLUMNS]);
        let len = self.totals.len() / self.sizes.group_outputs.div_ceil(COLUMNS);
        let totals = self.totals.chunks_exact_mut(len);
        for (gradients, totals) in gradients.chunks(COLUMNS * pixels).zip(totals) {
            turn(pixels, gradients, panels);
            for column in (0..columns).step_by(ROWS) {
                let sums = tile(rows_from(patches, [columns, pixels], column), panels);
                let totals = totals[(taps.start + column) * COLUMNS..].chunks_exact_mut(COLUMNS);
                for (totals, sums) in totals.zip(&sums).take(columns - column) {
                    for (total, &sum) in totals.iter_mut().zip(sums) {
                        total.add(sum);
                    }
                }
            }
        }
    }
}
