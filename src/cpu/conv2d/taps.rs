//! The taps of a filter, and the weights of some of them.

use crate::cpu::parallel::for_each;
use crate::op::Conv2dGeometry;

/// A tap, and where it is from a window's place.
#[derive(Clone, Copy)]
pub(super) struct Tap {
    pub at: usize,
    pub down: isize,
    pub right: isize,
}

/// Each tap of the filter: its number, and how far down and right it is from the first.
pub(super) fn taps(geometry: &Conv2dGeometry) -> impl Iterator<Item = (usize, usize, usize)> {
    let (kernel, dilation) = (geometry.kernel, geometry.dilation);
    (0..kernel.area()).map(move |at| {
        let (p, q) = (at / kernel.width, at % kernel.width);
        (at, p * dilation.height, q * dilation.width)
    })
}

/// Filters that are gathered at a time, which lie side by side.
pub(super) const FILTERS: usize = 16;

/// Channels of a filter that are gathered before those of the next.
const CHANNELS: usize = 8;

/// `(group, m, c, tap)` of these taps, of `w (group, c, m, area)`.
pub(super) fn weights(
    groups: usize,
    [to, from]: [usize; 2],
    (taps, area): (&[Tap], usize),
    w: &[f32],
) -> Vec<f32> {
    let k = from * taps.len();
    let mut weights = vec![0.0; groups * to * k];
    if weights.is_empty() {
        return weights;
    }
    let group = weights
        .chunks_exact_mut(to * k)
        .zip(w.chunks_exact(from * to * area));
    let tasks = group.flat_map(|(weights, w)| {
        let filters = weights.chunks_mut(FILTERS * k).enumerate();
        filters.map(move |(at, weights)| (at * FILTERS, weights, w))
    });
    for_each(tasks, |(first, weights, w)| {
        gather([first, to], (taps, area), w, weights);
    });
    weights
}

/// `(m, c, tap)` of these taps, of some of the filters from `first` on: as many as `weights` holds of `w (c, m, area)`.
#[inline(always)]
pub(super) fn gather(
    [first, to]: [usize; 2],
    (taps, area): (&[Tap], usize),
    w: &[f32],
    weights: &mut [f32],
) {
    let k = w.len() / (to * area) * taps.len();
    if k == 0 {
        return;
    }
    let all = taps.len() == area && taps.iter().enumerate().all(|(at, tap)| tap.at == at);
    for (block, w) in w.chunks(CHANNELS * to * area).enumerate() {
        for (m, weights) in weights.chunks_exact_mut(k).enumerate() {
            let weights = weights[block * CHANNELS * taps.len()..].chunks_exact_mut(taps.len());
            for (weights, w) in weights.zip(w.chunks_exact(to * area)) {
                let w = &w[(first + m) * area..][..area];
                match all {
                    true => weights.copy_from_slice(w),
                    false => (weights.iter_mut().zip(taps)).for_each(|(to, tap)| *to = w[tap.at]),
                }
            }
        }
    }
}
