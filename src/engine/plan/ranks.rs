//! A step whose batch is one of several that ranks compute at the same time: gradients on their way through the
//! host, and what is folded of the others' batches. What is kept between steps changes at last, once all ranks
//! have come as far.

use std::ops::Range;

use super::run::{Prepared, Progress};
use super::{Batch, Plan, WentBack};
use crate::Result;
use crate::distributed::{Subnormals, add};
use crate::engine::Round;
use crate::engine::compiled::Bytes;
use crate::engine::internal;
use crate::engine::lower::{Apart, Slab};
use crate::engine::memory::STRETCH;
use crate::engine::operators::Pieces;
use crate::engine::step::Step;
use crate::gpu::Gpu;
use crate::gpu::kernels::{Output, activation};
use crate::gpu::program::Program;
use crate::gpu::record::{Recording, Region, Storage};
use crate::model::ParameterId;

impl Plan {
    /// Says what the ranks compute next.
    pub fn set_round(&mut self, round: Round) {
        self.progress.round = round;
    }

    /// What the ranks compute at present.
    pub fn round(&self) -> Round {
        self.progress.round
    }

    /// Rounds that wait for an update.
    pub fn pending(&self) -> usize {
        self.progress.pending
    }

    /// A batch's losses and gradients, which [`end_round`](Self::end_round) makes part of an update. Gives what
    /// it counts for among those of the round.
    pub async fn begin_round(&mut self, batch: &Batch<'_>) -> Result<f64> {
        self.model.graph.check_training(batch.examples)?;
        let (losses, share) = self.loss_steps(batch, true)?;
        let mut ranges = self.preparation();
        ranges.extend(self.compiled.lowered.ranges.gradients());
        let step = Step {
            losses,
            made: self.progress.updates,
            examples: self.progress.examples_before(),
            ..Step::FIRST
        };
        let after = Progress {
            prepared: Prepared::All,
            has_losses: true,
            has_gradients: true,
            went_back: Some(WentBack {
                examples: batch.examples,
                alone: false,
            }),
            ..self.now()
        };
        self.submit(&ranges, batch, (step, after)).await?;
        Ok(share)
    }

    /// The means and the unbiased variances of the last batch, layer by layer; empty where no layer has any.
    pub async fn own_statistics(&self) -> Result<Vec<f32>> {
        let Some(apart) = &self.compiled.lowered.apart else {
            return Ok(vec![]);
        };
        let all = self.compiled.read(apart.region, &self.read_back).await?;
        let places = apart.places();
        let values = places.flat_map(|(region, len)| {
            let begin = region.offset as usize / 4;
            &all[begin..begin + len]
        });
        Ok(values.copied().collect())
    }

    /// How many numbers those are.
    pub fn statistics_len(&self) -> usize {
        let apart = self.compiled.lowered.apart.iter();
        apart.flat_map(Apart::places).map(|(_, len)| len).sum()
    }

    /// Folds the statistics of a rank's batch into the running ones.
    async fn fold(&mut self, statistics: &[f32]) -> Result<()> {
        let Some(apart) = self.compiled.lowered.apart.clone() else {
            return Ok(());
        };
        let mut rest = statistics;
        let mut data: Vec<Bytes> = Vec::new();
        for (region, len) in apart.places() {
            let (own, others) = rest.split_at(len.min(rest.len()));
            data.push((bytemuck::cast_slice(own).into(), region));
            rest = others;
        }
        let ranges = [self.compiled.lowered.ranges.fold.clone()];
        // A forward pass of the caller's stays as it is.
        let after = self.progress;
        self.upload(&ranges, 0, &data, (Step::FIRST, after)).await
    }

    /// Folds those of all batches of a round.
    pub async fn fold_all(&mut self, statistics: &[Vec<f32>]) -> Result<()> {
        for own in statistics {
            self.fold(own).await?;
        }
        Ok(())
    }

    /// The sums of this rank's gradients, parameter by parameter, which an update takes part in: those of the
    /// batches before, and of one that a [round](Self::begin_round) has computed. Without any they are the
    /// zeros that change no sum.
    pub async fn own_sums(&mut self, computed: bool, subnormals: Subnormals) -> Result<Vec<f32>> {
        let several = self.options.accumulate > 1;
        let summed = several && self.progress.own > 0;
        // Without sums it is the gradient itself that waits.
        let alone = computed || (!several && self.progress.own > 0);
        if !summed && !alone {
            return Ok(vec![-0.0; self.sums_len()?]);
        }
        let mut sums = match summed {
            true => Some(self.read_slabs(Slab::total).await?),
            false => None,
        };
        if alone {
            let own = self.read_slabs(|slab| slab.gradient).await?;
            match &mut sums {
                Some(sums) => add(sums, &own, subnormals),
                None => sums = Some(own),
            }
        }
        sums.ok_or_else(|| internal("a rank has no gradients"))
    }

    /// Ends a round: counts it, adds this rank's own batch to those that wait, or updates the parameters by the
    /// sums of all ranks.
    pub async fn end_round(
        &mut self,
        computed: bool,
        (round, shares): (Round, &[f64]),
        sums: Option<&[f32]>,
    ) -> Result<()> {
        let begins = self.progress.own == 0;
        let mut progress = self.now();
        match computed {
            true => self.count(&mut progress, round, shares),
            false => self.count_others(&mut progress, round, shares),
        }
        if let Some(sums) = sums {
            return self.update_by(sums, progress).await;
        }
        if !computed || self.options.accumulate == 1 {
            self.progress = progress;
            return Ok(());
        }
        let ranges = [self.sum(begins)];
        self.upload(&ranges, 0, &[], (Step::FIRST, progress)).await
    }

    /// Counts a round in which this rank has no batch of its own.
    pub fn skip_round(&mut self, round: Round, shares: &[f64]) {
        let mut progress = self.now();
        self.count_others(&mut progress, round, shares);
        self.progress = progress;
    }

    /// Updates the parameters by the sums of all ranks.
    pub async fn end_update(&mut self, sums: &[f32]) -> Result<()> {
        self.update_by(sums, self.now()).await
    }

    async fn update_by(&mut self, sums: &[f32], mut progress: Progress) -> Result<()> {
        self.write_slabs(sums).await?;
        progress.prepared = progress.prepared.updated();
        progress.updated(progress.mean());
        progress.has_gradients = true;
        let step = Step {
            update: progress.updates,
            average_began: progress.average_began,
            gradient_scale: progress.gradient_scale,
            ..Step::FIRST
        };
        let ranges: [Range<usize>; 2] = self.update_ranges();
        self.upload(&ranges, 0, &[], (step, progress)).await
    }

    /// Where the gradients of each learned parameter lie.
    fn gradient_places(&self) -> Result<Vec<Pieces>> {
        let lowered = &self.compiled.lowered;
        let ids = (0..self.model.graph.parameters().len()).map(ParameterId);
        let learned = ids.filter(|&id| lowered.learns(id));
        learned.map(|id| lowered.gradient(id)).collect()
    }

    fn sums_len(&self) -> Result<usize> {
        let places = self.gradient_places()?;
        Ok(places.iter().flat_map(Pieces::iter).map(|p| p.len).sum())
    }

    /// The numbers of one kind of slabs, parameter by parameter: how they lie in the slabs is the device's own.
    async fn read_slabs(&mut self, kind: impl Fn(&Slab) -> Region) -> Result<Vec<f32>> {
        let mut on_host = std::mem::take(&mut self.on_host);
        on_host.resize_with(self.compiled.lowered.slabs.len(), Vec::new);
        for (slab, values) in self.compiled.lowered.slabs.iter().zip(&mut on_host) {
            values.clear();
            let region = kind(slab);
            for begin in (0..region.size).step_by(STRETCH as usize) {
                let stretch = Region {
                    offset: region.offset + begin,
                    size: (region.size - begin).min(STRETCH),
                    ..region
                };
                values.extend(self.compiled.read(stretch, &self.read_back).await?);
            }
        }
        let mut all = Vec::with_capacity(self.sums_len()?);
        for place in self.gradient_places()? {
            for piece in place.iter() {
                let (at, within) = self.within_slabs(piece.region, piece.len)?;
                all.extend_from_slice(&on_host[at][within]);
            }
        }
        self.on_host = on_host;
        Ok(all)
    }

    /// Writes the sums that the optimizer takes.
    async fn write_slabs(&mut self, sums: &[f32]) -> Result<()> {
        let mut on_host = std::mem::take(&mut self.on_host);
        let slabs = &self.compiled.lowered.slabs;
        on_host.resize_with(slabs.len(), Vec::new);
        for (slab, values) in slabs.iter().zip(&mut on_host) {
            // The gaps are part of the gradients' norm.
            values.clear();
            values.resize(4 * slab.vectors(), 0.0);
        }
        let mut rest = sums;
        for place in self.gradient_places()? {
            for piece in place.iter() {
                let (at, within) = self.within_slabs(piece.region, piece.len)?;
                let (own, others) = rest.split_at(piece.len.min(rest.len()));
                on_host[at][within].copy_from_slice(own);
                rest = others;
            }
        }
        for (slab, values) in self.compiled.lowered.slabs.iter().zip(&on_host) {
            self.compiled.write(slab.total(), values).await?;
        }
        self.on_host = on_host;
        Ok(())
    }

    /// The slab that a place of gradients is in, and its elements within it.
    fn within_slabs(&self, place: Region, len: usize) -> Result<(usize, Range<usize>)> {
        let mut slabs = self.compiled.lowered.slabs.iter();
        let at = slabs.position(|slab| slab.gradient.buffer == place.buffer);
        let at = at.ok_or_else(|| internal("a gradient lies in no slab"))?;
        let begin = (place.offset - self.compiled.lowered.slabs[at].gradient.offset) as usize / 4;
        Ok((at, begin..begin + len))
    }
}

/// What a device's sums of gradients do with numbers below the smallest normal one.
pub(crate) async fn subnormals(gpu: &Gpu) -> Result<Subnormals> {
    const LEAST: f32 = f32::MIN_POSITIVE;
    // Each sum is of a subnormal number, or is one itself.
    let (to, from) = (
        [0.0, LEAST, 1e-40, 0.0],
        [1e-40, -LEAST / 2.0, 1e-40, 3e-39],
    );
    let sums = device_sums(gpu, &to, &from).await?;
    match sums.iter().all(|&sum| sum != 0.0) {
        true => Ok(Subnormals::Kept),
        false => Ok(Subnormals::Zero),
    }
}

/// Sums by the kernel that adds up the gradients of batches.
async fn device_sums(gpu: &Gpu, to: &[f32], from: &[f32]) -> Result<Vec<f32>> {
    let mut recording = Recording::new(gpu.traits());
    recording.set_label("subnormal numbers");
    let [sum, term] =
        ["sum", "term"].map(|label| recording.buffer(label, to.len(), Storage::Persistent));
    let output = Output {
        accumulate: true,
        ..sum.into()
    };
    activation::forward(&mut recording, to.len(), term, output);
    let recording = recording.finish()?;
    let program = Program::compile(gpu, &recording).await?;
    program.write(gpu, sum, bytemuck::cast_slice(to)).await?;
    program.write(gpu, term, bytemuck::cast_slice(from)).await?;
    let params = program.params_block(&recording.dispatches);
    let all = [0..recording.dispatches.len(); 1];
    let run = program.run_once(gpu, &recording.dispatches, &all, &params);
    run.await?;
    let sums: Vec<f32> = bytemuck::pod_collect_to_vec(&program.read(gpu, sum).await?);
    Ok(sums.into_iter().take(to.len()).collect())
}

#[cfg(all(test, feature = "native"))]
mod tests {
    use super::*;

    /// Numbers of any size, many of them around the smallest normal one.
    fn numbers(rng: &mut fastrand::Rng) -> Vec<f32> {
        let number = |rng: &mut fastrand::Rng| {
            let most = if rng.bool() { 4 } else { 200 };
            let exponent = rng.u32(0..most);
            f32::from_bits(rng.u32(0..2) << 31 | exponent << 23 | rng.u32(0..1 << 23))
        };
        (0..4096).map(|_| number(rng)).collect()
    }

    #[test]
    fn the_hosts_sums_are_the_devices_to_the_bit() {
        let Some(gpu) = crate::device::plain() else {
            return;
        };
        let rng = &mut fastrand::Rng::with_seed(7);
        let own = pollster::block_on(subnormals(gpu)).unwrap();
        let (mut host, term) = (numbers(rng), numbers(rng));
        let device = pollster::block_on(device_sums(gpu, &host, &term)).unwrap();
        let subnormal = |values: &[f32]| values.iter().filter(|v| v.is_subnormal()).count();
        assert!(subnormal(&host) > 500 && subnormal(&term) > 500);
        add(&mut host, &term, own);
        let pairs = host.iter().zip(&device);
        let others = pairs.filter(|(host, device)| host.to_bits() != device.to_bits());
        assert_eq!(others.collect::<Vec<_>>(), [], "{own:?}");
        println!("{own:?}: {} subnormal sums", subnormal(&device));
    }
}
