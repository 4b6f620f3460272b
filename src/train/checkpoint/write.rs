//! Writing a checkpoint, tensor by tensor.

use std::collections::BTreeMap;

use safetensors::tensor::Dtype;
use serde_json::json;

use super::{FORMAT, Holds, LOG, PLACE, VERSION, describe};
use crate::engine::Counts;
use crate::file::safetensors::{self as format, Sink};
use crate::model::{Graph, ParameterId};
use crate::op::Average;
use crate::train::Trainer;
use crate::train::trainer::Backend;
use crate::{Error, Result};

/// A tensor of a checkpoint.
pub(super) struct Tensor {
    pub name: String,
    pub dtype: Dtype,
    pub shape: Vec<usize>,
    pub holds: Holds,
}

/// The tensors of a checkpoint of a model but for the place in the data and the log: in the model's order, with as many
/// slots of the optimizer's numbers as each parameter has.
pub(super) fn tensors(
    graph: &Graph,
    learns: impl Fn(ParameterId) -> bool,
    slots: impl Fn(ParameterId) -> usize,
    (pending, averaged): (bool, bool),
) -> Vec<Tensor> {
    let mut tensors = Vec::new();
    for (id, parameter) in graph.kept() {
        let own = &parameter.name;
        let mut tensor = |name: String, dtype, holds| {
            let shape = parameter.shape.to_vec();
            tensors.push(Tensor {
                name,
                dtype,
                shape,
                holds,
            });
        };
        let dtype = match parameter.is_count() {
            true => Dtype::I64,
            false => Dtype::F32,
        };
        tensor(own.clone(), dtype, Holds::Values(id));
        if !learns(id) {
            continue;
        }
        for slot in 0..slots(id) {
            let name = format!("optimizer/{own}/{slot}");
            tensor(name, Dtype::F32, Holds::Slot(id, slot));
        }
        if pending {
            tensor(format!("pending/{own}"), Dtype::F64, Holds::Sum(id));
        }
        if averaged {
            tensor(format!("average/{own}"), Dtype::F32, Holds::Average(id));
        }
    }
    tensors
}

impl Trainer {
    pub(super) async fn write_state(
        &self,
        metric: Option<f64>,
        sink: &mut impl Sink,
    ) -> Result<()> {
        self.check_between_steps()?;
        let mut counts = self.counts().await?;
        if self.ranks() > 1 {
            // Those of this rank's own batch.
            counts.losses.clear();
        }
        let tensors = self.all_tensors();
        let (header, order) = header(&tensors, &self.metadata(&counts, metric))?;
        sink.write(&header)?;
        for at in order {
            self.write_tensor(&tensors[at], sink).await?;
        }
        Ok(())
    }

    /// Refuses what could not be written, wherever it went.
    #[cfg(feature = "native")]
    pub(super) fn check_checkpoint_of(&self, metric: Option<f64>) -> Result<()> {
        self.check_between_steps()?;
        let metadata = self.metadata(&Counts::default(), metric);
        header(&self.all_tensors(), &metadata).map(drop)
    }

    fn all_tensors(&self) -> Vec<Tensor> {
        let mut tensors = self.tensors((self.has_pending(), self.has_averages()));
        let log = self.log_text();
        let bytes = [
            (PLACE, Some(self.data_place().len()), Holds::Place),
            (LOG, log.map(|text| text.len()), Holds::Log),
        ];
        tensors.extend(bytes.into_iter().filter_map(|(name, len, holds)| {
            Some(Tensor {
                name: name.into(),
                dtype: Dtype::U8,
                shape: vec![len?],
                holds,
            })
        }));
        tensors
    }

    fn metadata(&self, counts: &Counts, metric: Option<f64>) -> BTreeMap<String, String> {
        let losses = counts.losses.iter().map(describe::exact);
        let mut progress = json!({
            "batches": counts.batches,
            "updates": counts.updates,
            "trained": counts.trained,
            "accumulate": counts.accumulate,
            "pending": counts.pending,
            "examples": counts.examples,
            "normaliser": describe::exact(counts.normaliser),
            "losses": losses.collect::<Vec<_>>(),
            "seed": counts.seed,
        });
        if let Some(began) = counts.average_began.filter(|_| self.has_averages()) {
            progress["average_began"] = json!(began);
        }
        let graph = &self.model().graph;
        let learned = graph.kept().filter(|&(id, _)| self.learns(id));
        let updates = learned.map(|(id, parameter)| {
            let updates = self.updates_of(id);
            (parameter.name.clone(), updates)
        });
        let other = updates.filter(|&(_, updates)| updates != counts.updates);
        let other: BTreeMap<String, u64> = other.collect();
        let entries = [
            ("format", FORMAT.into()),
            ("version", VERSION.into()),
            ("library", env!("CARGO_PKG_VERSION").into()),
            ("model", json!(describe::model(graph)).to_string()),
            ("optimizers", json!(self.optimizers()).to_string()),
            ("learning_rate", describe::exact(self.base_rate)),
            ("choices", json!(describe::choices(self)).to_string()),
            ("rates", json!(describe::rates(self)).to_string()),
            ("progress", progress.to_string()),
            ("updates", json!(other).to_string()),
            ("notes", json!(self.session.notes).to_string()),
        ];
        let averages = self.averages().filter(|_| self.has_averages());
        let average = averages.map(|average| ("average", describe::exact(average)));
        let metric = metric.map(|metric| ("metric", describe::exact(metric)));
        let ranks = (self.ranks() > 1).then(|| ("ranks", self.ranks().to_string()));
        let entries = entries
            .into_iter()
            .chain(average)
            .chain(metric)
            .chain(ranks);
        entries.map(|(name, text)| (name.into(), text)).collect()
    }

    async fn write_tensor(&self, tensor: &Tensor, sink: &mut impl Sink) -> Result<()> {
        let counts = tensor.dtype == Dtype::I64;
        match tensor.holds {
            Holds::Values(id) if counts => {
                let values = self.values_of(id).await?;
                let counts: Vec<i64> = values.into_iter().map(|value| value as i64).collect();
                write_numbers(sink, &counts, i64::to_le_bytes)
            }
            Holds::Values(id) => write_numbers(sink, &self.values_of(id).await?, f32::to_le_bytes),
            Holds::Slot(id, slot) => {
                let values = match &self.backend {
                    Backend::Gpu(plan) => plan.slot(id, slot).await?,
                    Backend::Cpu(reference) => reference.slot(id, slot).to_vec(),
                };
                write_numbers(sink, &values, f32::to_le_bytes)
            }
            Holds::Sum(id) => {
                let sum = match &self.backend {
                    Backend::Gpu(plan) => plan.pending_sum(id).await?,
                    Backend::Cpu(reference) => reference.pending_sum(id).map(<[f64]>::to_vec),
                };
                let sum = sum.ok_or_else(|| Error::argument("checkpoint", "no batch waits"))?;
                write_numbers(sink, &sum, f64::to_le_bytes)
            }
            Holds::Average(id) => {
                let average = match &self.backend {
                    Backend::Gpu(plan) => plan.average(id).await?,
                    Backend::Cpu(reference) => reference.average(id).map(<[f32]>::to_vec),
                };
                let none = || Error::argument("checkpoint", "there is no average");
                write_numbers(sink, &average.ok_or_else(none)?, f32::to_le_bytes)
            }
            Holds::Place => sink.write(self.data_place()),
            Holds::Log => sink.write(self.log_text().unwrap_or_default().as_bytes()),
        }
    }

    /// The log as text, where anything was recorded.
    fn log_text(&self) -> Option<String> {
        let rows = !self.log().rows().is_empty();
        rows.then(|| self.log().to_csv())
    }

    async fn values_of(&self, id: ParameterId) -> Result<Vec<f32>> {
        match &self.backend {
            Backend::Gpu(plan) => plan.parameter(id).await,
            Backend::Cpu(reference) => Ok(reference.parameters()[id.0].clone()),
        }
    }

    /// The tensors of a checkpoint of this trainer but for the place in the data and the log.
    pub(super) fn tensors(&self, with: (bool, bool)) -> Vec<Tensor> {
        let slots = |id| self.groups().state_slots(id);
        tensors(&self.model().graph, |id| self.learns(id), slots, with)
    }

    /// The average that this trainer keeps, if any.
    pub(super) fn averages(&self) -> Option<Average> {
        match &self.backend {
            Backend::Gpu(plan) => plan.averages(),
            Backend::Cpu(reference) => reference.averages(),
        }
    }

    /// Whether there is an average yet: the first update since it is kept makes it.
    fn has_averages(&self) -> bool {
        match &self.backend {
            Backend::Gpu(plan) => plan.has_average(),
            Backend::Cpu(reference) => reference.has_average(),
        }
    }

    /// The optimizer of each learned parameter, by name.
    pub(super) fn optimizers(&self) -> BTreeMap<&str, String> {
        let learned = self.model().graph.kept().filter(|&(id, _)| self.learns(id));
        let optimizers = learned.filter_map(|(id, parameter)| {
            let group = self.groups().group(id)?;
            Some((&*parameter.name, describe::optimizer(&group.optimizer)))
        });
        optimizers.collect()
    }

    pub(in crate::train) fn learns(&self, id: ParameterId) -> bool {
        match &self.backend {
            Backend::Gpu(plan) => plan.learns(id),
            Backend::Cpu(reference) => reference.learns(id),
        }
    }

    fn updates_of(&self, id: ParameterId) -> u64 {
        match &self.backend {
            Backend::Gpu(plan) => plan.updates_of(id),
            Backend::Cpu(reference) => reference.updates_of(id),
        }
    }
}

/// The header of a file of tensors, and their order in it.
fn header(
    tensors: &[Tensor],
    metadata: &BTreeMap<String, String>,
) -> Result<(Vec<u8>, Vec<usize>)> {
    let listed = tensors.iter();
    let listed = listed.map(|tensor| (&*tensor.name, tensor.dtype, &*tensor.shape));
    format::header(listed, metadata).map_err(|reason| Error::argument("checkpoint", reason))
}

/// Numbers as little-endian bytes, a stretch at a time.
fn write_numbers<N: Copy, const SIZE: usize>(
    sink: &mut impl Sink,
    numbers: &[N],
    bytes: fn(N) -> [u8; SIZE],
) -> Result<()> {
    for stretch in numbers.chunks(1 << 14) {
        let stretch: Vec<[u8; SIZE]> = stretch.iter().map(|&number| bytes(number)).collect();
        sink.write(stretch.as_flattened())?;
    }
    Ok(())
}
