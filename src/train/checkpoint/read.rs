//! Reading a checkpoint: all that can be wrong with it is found before anything is made of it.

use std::collections::{BTreeMap, HashMap};
use std::io::{Read, Seek};
use std::str::FromStr;
use std::sync::Arc;

use safetensors::tensor::Dtype;
use serde_json::Value;

use super::write::Tensor;
use super::{BYTES, FORMAT, Holds, LOG, PLACE, TrainingState, VERSION, describe};
use crate::engine::{Counts, ParameterState};
use crate::file::safetensors::{Bytes, Reader, Source, quoted};
use crate::model::ParameterId;
use crate::train::log::{Log, Logged};
use crate::train::trainer::Backend;
use crate::train::{Trainer, TrainerBuilder};
use crate::{Error, Result, Shape};

/// What is wrong with a checkpoint, in words.
type Told<T> = std::result::Result<T, String>;

/// The metadata of a checkpoint.
pub(super) struct Header {
    pub library: String,
    pub model: Vec<String>,
    /// The optimizer of each learned parameter.
    pub optimizers: BTreeMap<String, String>,
    pub learning_rate: f64,
    pub counts: Counts,
    /// The updates of parameters that have had another number of them than `counts` says.
    pub updates: BTreeMap<String, u64>,
    /// What a program may choose otherwise, and the rules for rates; older files do not say.
    pub choices: Option<BTreeMap<String, String>>,
    pub rates: Option<BTreeMap<String, String>>,
    /// The average that was kept, if there was one.
    pub average: Option<String>,
    pub notes: BTreeMap<String, String>,
    /// How many trainers had trained together.
    pub ranks: usize,
    /// By which it was judged, if it was.
    #[cfg(feature = "native")]
    pub metric: Option<f64>,
}

impl Header {
    pub fn of(metadata: &BTreeMap<String, String>) -> Told<Self> {
        let text = |name: &str| {
            let entry = metadata.get(name).map(String::as_str);
            entry.ok_or_else(|| format!("the metadata have no {name:?}"))
        };
        match metadata.get("format").map(String::as_str) {
            Some(FORMAT) => {}
            _ => return Err("not a checkpoint: its metadata do not say that it is one".into()),
        }
        match text("version")? {
            VERSION => {}
            other => {
                let by = quoted(text("library").unwrap_or("unknown"));
                let other = quoted(other);
                return Err(format!(
                    "a checkpoint of version {other}, written by wgpu-cnn {by}: this library reads {VERSION:?}"
                ));
            }
        }
        let described = |name: &str| {
            let entry = metadata.get(name);
            let read = entry.map(|text| serde_json::from_str(text));
            read.transpose().map_err(bad(name))
        };
        #[cfg(feature = "native")]
        let metric = metadata.get("metric");
        Ok(Self {
            library: text("library")?.into(),
            model: serde_json::from_str(text("model")?).map_err(bad("model"))?,
            optimizers: serde_json::from_str(text("optimizers")?).map_err(bad("optimizers"))?,
            learning_rate: number("learning_rate", text("learning_rate")?)?,
            counts: counts(text("progress")?, metadata.contains_key("average"))?,
            updates: serde_json::from_str(text("updates")?).map_err(bad("updates"))?,
            choices: described("choices")?,
            rates: described("rates")?,
            average: metadata.get("average").cloned(),
            notes: serde_json::from_str(text("notes")?).map_err(bad("notes"))?,
            ranks: metadata
                .get("ranks")
                .map_or(Ok(1), |text| number("ranks", text))?,
            #[cfg(feature = "native")]
            metric: metric.map(|text| number("metric", text)).transpose()?,
        })
    }
}

/// What is wrong with a part of the metadata.
fn bad(name: &str) -> impl Fn(serde_json::Error) -> String {
    let name = name.to_owned();
    move |error| format!("the metadata's {name:?}: {error}")
}

/// A number as text.
fn number<T: FromStr>(name: &str, text: &str) -> Told<T> {
    let read = text.parse();
    read.map_err(|_| format!("the metadata's {name:?}: {} is no number", quoted(text)))
}

fn counts(text: &str, averages: bool) -> Told<Counts> {
    let progress: Value = serde_json::from_str(text).map_err(bad("progress"))?;
    let missing =
        |name: &str| format!("the metadata's \"progress\" has no {name:?} as it should be");
    let count = |name: &str| {
        let count = progress.get(name).and_then(Value::as_u64);
        count.ok_or_else(|| missing(name))
    };
    let text = |value: &Value, name: &str| {
        let text = value.as_str().ok_or_else(|| missing(name))?;
        number::<f64>(name, text)
    };
    let losses = progress.get("losses").and_then(Value::as_array);
    let losses = losses.ok_or_else(|| missing("losses"))?.iter();
    let losses = losses.map(|loss| {
        let text = loss.as_str().ok_or_else(|| missing("losses"))?;
        number::<f32>("losses", text)
    });
    let later = |name: &str| match progress.get(name) {
        Some(_) => count(name),
        None => Ok(0), // older files do not say so
    };
    // Older averages began with the training.
    let began = later("average_began")?;
    Ok(Counts {
        average_began: averages.then_some(began),
        batches: count("batches")?,
        updates: count("updates")?,
        trained: later("trained")?,
        accumulate: count("accumulate")?,
        pending: count("pending")?,
        examples: count("examples")?,
        normaliser: text(
            progress.get("normaliser").unwrap_or(&Value::Null),
            "normaliser",
        )?,
        losses: losses.collect::<Told<_>>()?,
        seed: count("seed")?,
    })
}

/// A checkpoint whose header has been read.
pub(in crate::train) struct Opened {
    reader: Reader<Box<dyn Bytes>>,
    header: Header,
}

impl Opened {
    fn new(source: &Source) -> Result<Self> {
        let reader = source.open(BYTES)?;
        let header = Header::of(reader.metadata());
        let header = header.map_err(|reason| Error::file(reader.path(), reason))?;
        Ok(Self { reader, header })
    }
}

impl TrainerBuilder {
    /// The checkpoint to go on from, if there is one. Parameters that have learned for longer than others are
    /// groups of their own from here on.
    pub(in crate::train) fn open_checkpoint(&mut self) -> Result<Option<Opened>> {
        let Some(source) = &self.checkpoint.resume else {
            return Ok(None);
        };
        let opened = Opened::new(source)?;
        let Header {
            counts, updates, ..
        } = &opened.header;
        let parameters = self.model.graph.kept().map(|(id, parameter)| {
            let own = updates.get(&parameter.name).copied();
            let state = ParameterState {
                updates: own.unwrap_or(counts.updates),
                ..ParameterState::default()
            };
            (id, state)
        });
        let state = TrainingState {
            parameters: parameters.collect(),
            counts: counts.clone(),
            learning_rate: opened.header.learning_rate,
            notes: BTreeMap::new(),
            place: Arc::default(),
            rows: 0,
        };
        self.learned.go_on_from(&state);
        Ok(Some(opened))
    }
}

impl Opened {
    /// Takes a trainer that has just been made to where the checkpoint is.
    pub(super) async fn resume(self, trainer: &mut Trainer) -> Result<()> {
        let Self { mut reader, header } = self;
        let path = reader.path().to_owned();
        let fail = |reason: String| Error::file(&path, reason);
        let told = |error: Error| match error {
            Error::Shape { .. } | Error::Argument { .. } => Error::file(&path, error),
            other => other,
        };
        check_model(trainer, &header).map_err(fail)?;
        check_optimizers(trainer, &header).map_err(fail)?;
        if header.counts.pending > 0 && trainer.ranks() > 1 {
            let reason = "was written within an update, whose sums are of one trainer: several ranks go on from one between updates";
            return Err(fail(reason.into()));
        }
        let tensors = trainer.tensors((header.counts.pending > 0, header.average.is_some()));
        check_average(trainer, &header).map_err(fail)?;
        tell_choices(trainer, &header);
        let (places, [place, log]) = places(&tensors, &reader).map_err(fail)?;
        // Counts that cannot be are found before any tensor is read.
        trainer.check_counts(&header.counts).map_err(told)?;
        let rate = trainer.set_learning_rate(header.learning_rate);
        rate.map_err(told)?;
        let graph = trainer.model().graph.clone();
        for (id, _) in graph.kept() {
            let state = parameter(id, (&tensors, &places), &mut reader)?;
            trainer.set_state(id, &state).await.map_err(told)?;
        }
        trainer.set_counts(&header.counts).await.map_err(told)?;
        let mut bytes = |at: Option<usize>| match at {
            Some(at) => numbers(&mut reader, at, u8::from_le_bytes),
            None => Ok(vec![]),
        };
        let (place, log) = (bytes(place)?, bytes(log)?);
        trainer.session.place = place.into();
        trainer.session.notes = header.notes;
        let log = String::from_utf8(log).map_err(|error| error.to_string());
        let log = log.and_then(|text| match text.is_empty() {
            true => Ok(Log::new()),
            false => Log::from_csv(&text).map_err(|error| error.to_string()),
        });
        trainer.logged = Logged::after(log.map_err(|reason| fail(format!("the log: {reason}")))?);
        Ok(())
    }
}

/// Whether the model is the one that the file is of. Its parameters are compared in any case; operators are
/// described by each version in its own words.
fn check_model(trainer: &Trainer, header: &Header) -> Told<()> {
    let here = describe::model(&trainer.model().graph);
    let Some(difference) = describe::difference(&header.model, &here) else {
        return Ok(());
    };
    let (library, this) = (&header.library, env!("CARGO_PKG_VERSION"));
    if library == this {
        return Err(format!("is of another model: {difference}"));
    }
    let library = quoted(library);
    log::warn!(
        "a checkpoint of wgpu-cnn {library} describes the model otherwise than {this} does: {difference}"
    );
    Ok(())
}

fn check_optimizers(trainer: &Trainer, header: &Header) -> Told<()> {
    let mut other = None;
    let here = trainer.optimizers();
    for (name, here) in &here {
        let there = header.optimizers.get(*name);
        let there = there.ok_or_else(|| {
            let name = quoted(name);
            format!("of parameter {name}, which is learned here, nothing was learned there")
        })?;
        let slots = [there, here].map(|text| describe::kept(text));
        if slots[0] != slots[1] {
            let name = quoted(name);
            let [there, here] = [there, here].map(|text| quoted(text));
            return Err(format!(
                "of {name} is another optimizer: {there} there, {here} here"
            ));
        }
        if there != here {
            other.get_or_insert((there, here));
        }
    }
    let mut there = header.optimizers.keys();
    if let Some(name) = there.find(|name| !here.contains_key(&***name)) {
        let name = quoted(name);
        return Err(format!(
            "parameter {name} was learned there, and is not here: rebuild changes what is learned"
        ));
    }
    if let Some((there, here)) = other {
        let there = quoted(there);
        log::warn!(
            "hyper-parameters are not those of the checkpoint, and stay: {here} for {there}"
        );
    }
    Ok(())
}

/// Says what is chosen otherwise than in the file: a program may have changed its mind, or its command line.
fn tell_choices(trainer: &Trainer, header: &Header) {
    let (there, here) = (header.ranks, trainer.ranks());
    if there != here {
        let own = trainer.made.options.accumulate;
        let [there_all, here_all] = [
            header.counts.accumulate.saturating_mul(there as u64),
            (own as u64).saturating_mul(here as u64),
        ];
        match there_all == here_all {
            true => log::warn!(
                "a checkpoint of {there} ranks goes on with {here}: within rounding, not with the same bits"
            ),
            false => log::warn!(
                "a checkpoint of {there} ranks, with {there_all} batches of an update, goes on with {here} and {here_all}: another training"
            ),
        }
    }
    let here = [describe::choices(trainer), describe::rates(trainer)];
    let [choices, rates] = [&header.choices, &header.rates];
    let differences = |there: &Option<BTreeMap<_, _>>, here| {
        let there = there.as_ref();
        there.map_or(vec![], |there| describe::differences(there, here))
    };
    for other in differences(choices, &here[0]) {
        log::warn!("not as in the checkpoint, and stays: {other}");
    }
    let rates = differences(rates, &here[1]);
    if let Some(first) = rates.first() {
        let count = rates.len();
        log::warn!(
            "learning rates of {count} parameters follow another rule than in the checkpoint, and stay: {first}"
        );
    }
}

/// An average that would be lost is refused; one that is to be kept from here on begins with the weights.
fn check_average(trainer: &Trainer, header: &Header) -> Told<()> {
    let here = trainer.averages().map(describe::exact);
    match (&header.average, here) {
        (Some(there), None) => {
            let there = quoted(there);
            Err(format!(
                "has an average of the weights, {there}, and this trainer keeps none"
            ))
        }
        (Some(there), Some(here)) if *there != here => {
            let there = quoted(there);
            log::warn!("the average is not that of the checkpoint, and stays: {here} for {there}");
            Ok(())
        }
        (None | Some(_), _) => Ok(()),
    }
}

/// Where each of the tensors is in the file, and where the place in the data and the log, of which older files have
/// none.
fn places<R: Read + Seek>(
    tensors: &[Tensor],
    reader: &Reader<R>,
) -> Told<(Vec<usize>, [Option<usize>; 2])> {
    let found = reader.tensors().iter().enumerate();
    let mut found: HashMap<&str, usize> = found.map(|(at, (name, _))| (&**name, at)).collect();
    let mut places = Vec::new();
    for tensor in tensors {
        let name = &tensor.name;
        let at = found.remove(&**name);
        let at = at.ok_or_else(|| format!("there is no tensor {}", quoted(name)))?;
        let info = &reader.tensors()[at].1;
        if info.dtype != tensor.dtype {
            let (got, wanted) = (info.dtype, tensor.dtype);
            return Err(format!(
                "tensor {} is {got:?}, not {wanted:?}",
                quoted(name)
            ));
        }
        if info.shape != tensor.shape {
            let [got, wanted] = [&info.shape, &tensor.shape].map(|shape| Shape::from(&shape[..]));
            let name = quoted(name);
            return Err(format!("tensor {name} is {got}, the model's is {wanted}"));
        }
        places.push(at);
    }
    let bytes = [PLACE, LOG].map(|name| found.remove(name));
    if bytes[0].is_none() {
        return Err(format!("there is no tensor {PLACE:?}"));
    }
    for &at in bytes.iter().flatten() {
        let (name, info) = &reader.tensors()[at];
        if info.dtype != Dtype::U8 || info.shape.len() != 1 {
            return Err(format!(
                "tensor {name:?} is {:?} of {:?}",
                info.dtype, info.shape
            ));
        }
    }
    match found.keys().min() {
        Some(name) => Err(format!(
            "tensor {} is nothing that this training keeps",
            quoted(name)
        )),
        None => Ok((places, bytes)),
    }
}

/// All that the file has of a parameter.
fn parameter<R: Read + Seek>(
    id: ParameterId,
    (tensors, places): (&[Tensor], &[usize]),
    reader: &mut Reader<R>,
) -> Result<ParameterState> {
    let mut state = ParameterState::default();
    for (tensor, &place) in tensors.iter().zip(places) {
        match tensor.holds {
            Holds::Values(of) if of == id => {
                state.values = match tensor.dtype {
                    Dtype::I64 => batches(reader, place)?,
                    _ => numbers(reader, place, f32::from_le_bytes)?,
                };
            }
            Holds::Slot(of, _) if of == id => {
                state
                    .slots
                    .push(numbers(reader, place, f32::from_le_bytes)?);
            }
            Holds::Sum(of) if of == id => {
                state.sum = Some(numbers(reader, place, f64::from_le_bytes)?);
            }
            Holds::Average(of) if of == id => {
                state.average = Some(numbers(reader, place, f32::from_le_bytes)?);
            }
            Holds::Values(_)
            | Holds::Slot(..)
            | Holds::Sum(_)
            | Holds::Average(_)
            | Holds::Place
            | Holds::Log => {}
        }
    }
    Ok(state)
}

/// The numbers of a tensor, a stretch at a time.
fn numbers<N, const SIZE: usize, R: Read + Seek>(
    reader: &mut Reader<R>,
    tensor: usize,
    number: fn([u8; SIZE]) -> N,
) -> Result<Vec<N>> {
    const STRETCH: usize = 1 << 16;
    let (from, to) = reader.tensors()[tensor].1.data_offsets;
    let size = to - from;
    let mut numbers = Vec::with_capacity(size / SIZE);
    let mut bytes = vec![0; size.min(STRETCH)];
    for offset in (0..size).step_by(STRETCH) {
        let bytes = &mut bytes[..STRETCH.min(size - offset)];
        reader.read(tensor, offset as u64, bytes)?;
        numbers.extend(bytes.as_chunks().0.iter().map(|&bytes| number(bytes)));
    }
    Ok(numbers)
}

/// Whole numbers as f32, which counts up to 2^24.
fn batches<R: Read + Seek>(reader: &mut Reader<R>, tensor: usize) -> Result<Vec<f32>> {
    let counts = numbers(reader, tensor, i64::from_le_bytes)?;
    let count = |count: i64| match count {
        0.. => Ok(count as f32),
        _ => Err(Error::file(reader.path(), format!("{count} batches"))),
    };
    counts.into_iter().map(count).collect()
}

impl Trainer {
    async fn set_state(&mut self, id: ParameterId, state: &ParameterState) -> Result<()> {
        match &mut self.backend {
            Backend::Gpu(plan) => plan.set_state(id, state).await,
            Backend::Cpu(reference) => reference.set_state(id, state),
        }
    }

    fn check_counts(&self, counts: &Counts) -> Result<()> {
        match &self.backend {
            Backend::Gpu(plan) => plan.check_counts(counts),
            Backend::Cpu(reference) => reference.check_counts(counts),
        }
    }
}
