//! What training keeps: by parameter and never by slab, so that it moves to another device, another layout
//! of slabs, other groups of parameters, or a file.

use crate::model::Parameter;
use crate::{Error, Result};

/// What training keeps of one parameter.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct ParameterState {
    pub values: Vec<f32>,
    /// The optimizer's numbers, as long as the parameter each; none where nothing has been learned yet,
    /// which is as zeros are.
    pub slots: Vec<Vec<f32>>,
    /// The sum of the gradients of the batches that wait for an update, where any do. In `f64`, since the
    /// reference adds them up so: what a GPU has added up in `f32` is the same there.
    pub sum: Option<Vec<f64>>,
    /// The average of its values over the updates, where one is kept.
    pub average: Option<Vec<f32>>,
    /// The updates that it has had.
    pub updates: u64,
}

/// How far training has come.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Counts {
    /// Batches so far.
    pub batches: u64,
    /// Updates so far.
    pub updates: u64,
    /// Examples of all batches so far.
    pub trained: u64,
    /// Batches per update.
    pub accumulate: u64,
    /// Batches since the last update.
    pub pending: u64,
    /// The examples of these.
    pub examples: u64,
    /// What the sum of their gradients is to be divided by.
    pub normaliser: f64,
    /// Those of the last batch, each before its weight; none where they are not known.
    pub losses: Vec<f32>,
    /// What dropout's masks are made from.
    pub seed: u64,
    /// The updates that had been made when the average of the weights began, where one is kept.
    pub average_began: Option<u64>,
}

impl Counts {
    /// Refuses what no training comes to, and an update that was begun and cannot be ended so: with
    /// `accumulate` batches each or, where the losses are the caller's `own`, as many as the caller likes.
    pub fn check(&self, accumulate: usize, own: bool) -> Result<()> {
        let refuse = |what: &str, reason: String| Err(Error::argument(what, reason));
        let Self {
            batches,
            updates,
            trained,
            pending,
            examples,
            normaliser,
            ..
        } = self;
        let began = self.average_began.unwrap_or(0);
        // Far beyond what a training reaches, and what can be counted on from.
        let most = 1 << 62;
        let counts = [
            ("batches", batches, most),
            ("examples", trained, most),
            ("updates", updates, *batches),
            ("updates before the average", &began, *updates),
            ("pending batches", pending, *batches),
            ("pending examples", examples, most),
        ];
        for (what, count, most) in counts {
            if *count > most {
                return refuse(what, format!("{count} of at most {most}"));
            }
        }
        if *pending == 0 {
            return Ok(());
        }
        if self.accumulate != accumulate as u64 {
            let were = self.accumulate;
            let reason =
                format!("is {accumulate}, where {pending} of {were} batches of an update are made");
            return refuse("accumulate", reason);
        }
        if !own && *pending >= self.accumulate {
            let reason = format!("{pending} of {accumulate} in an update");
            return refuse("pending batches", reason);
        }
        match normaliser.is_finite() && examples >= pending {
            true => Ok(()),
            false => refuse(
                "pending batches",
                format!("of {examples} examples, divided by {normaliser}"),
            ),
        }
    }
}

impl ParameterState {
    /// Refuses what does not fit a parameter, of which the optimizer keeps so many slots.
    pub fn check(&self, parameter: &Parameter, slots: usize) -> Result<()> {
        let singles = [Some(&self.values), self.average.as_ref()];
        let singles = singles.into_iter().flatten().chain(&self.slots);
        let mut lengths = singles.map(Vec::len).chain(self.sum.iter().map(Vec::len));
        let (name, shape) = (&parameter.name, &parameter.shape);
        if let Some(other) = lengths.find(|&len| len != shape.len()) {
            return Err(Error::length(&format!("state of {name:?}"), shape, other));
        }
        match self.slots.is_empty() || self.slots.len() == slots {
            true => Ok(()),
            false => {
                let what = format!("optimizer's state of {name:?}");
                let expected = format!("{slots} numbers per value");
                Err(Error::shape(what, expected, self.slots.len()))
            }
        }
    }
}
