//! What ranks tell each other before and after each of them computes: messages of one length.

use crate::{Error, Result};

/// What a rank is about to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Call {
    Begin,
    Step,
    Forward,
    Update,
    Loss,
    Check,
    Barrier,
}

impl Call {
    const ALL: [Self; 7] = [
        Self::Begin,
        Self::Step,
        Self::Forward,
        Self::Update,
        Self::Loss,
        Self::Check,
        Self::Barrier,
    ];

    /// What it is to those who call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Begin => "the making of a trainer",
            Self::Step => "step",
            Self::Forward => "forward",
            Self::Update => "update",
            Self::Loss => "loss_of_all_ranks",
            Self::Check => "check_ranks",
            Self::Barrier => "wait_for_ranks",
        }
    }
}

/// Bytes of words in a message.
const WORDS: usize = 192;

/// Numbers and words, written one after the other.
#[derive(Debug, Default)]
pub(super) struct Frame(Vec<u8>);

impl Frame {
    pub fn number(mut self, number: u64) -> Self {
        self.0.extend(number.to_le_bytes());
        self
    }

    /// As many of the words as there is room for.
    pub fn words(mut self, words: &str) -> Self {
        let mut end = words.len().min(WORDS);
        while !words.is_char_boundary(end) {
            end -= 1;
        }
        let begin = self.0.len();
        self.0.extend(&words.as_bytes()[..end]);
        self.0.resize(begin + WORDS, 0);
        self
    }

    pub fn values(mut self, values: &[f32]) -> Self {
        self.0
            .extend(values.iter().flat_map(|value| value.to_le_bytes()));
        self
    }

    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// A message of a rank, read in the order in which it was written.
#[derive(Debug)]
pub(super) struct Read<'a>(pub &'a [u8]);

impl Read<'_> {
    pub fn number(&mut self) -> u64 {
        let mut number = [0; 8];
        number.copy_from_slice(self.take(8));
        u64::from_le_bytes(number)
    }

    pub fn words(&mut self) -> String {
        let words = String::from_utf8_lossy(self.take(WORDS));
        words.trim_end_matches('\0').into()
    }

    pub fn values(&mut self) -> Vec<f32> {
        let values = self.0.chunks_exact(4).map(|bytes| {
            let mut value = [0; 4];
            value.copy_from_slice(bytes);
            f32::from_le_bytes(value)
        });
        values.collect()
    }

    /// All messages are of one length, which is checked before they are read.
    fn take(&mut self, len: usize) -> &[u8] {
        let (taken, rest) = self.0.split_at(len.min(self.0.len()));
        self.0 = rest;
        taken
    }
}

/// What a rank is about to do, and how far it is.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Head {
    pub call: Call,
    /// Why it cannot.
    pub failed: Option<String>,
    /// Of its batch; none where it has no batch.
    pub examples: u64,
    pub batches: u64,
    pub updates: u64,
    /// Rounds that wait for an update.
    pub pending: u64,
    /// Whether it is to keep a state of the training before that.
    pub keeps: bool,
    pub learning_rate: f64,
}

impl Head {
    /// That of a trainer which is compared with the others: what differs is told with the rest, by name.
    pub fn of_trainer(call: Call, failed: Option<&Error>) -> Self {
        Self {
            call,
            failed: failed.map(Error::to_string),
            examples: 0,
            batches: 0,
            updates: 0,
            pending: 0,
            keeps: false,
            learning_rate: 0.0,
        }
    }

    pub fn frame(&self) -> Frame {
        let frame = Frame::default()
            .number(self.call as u64)
            .number(self.failed.is_some().into())
            .words(self.failed.as_deref().unwrap_or_default());
        let counts = [self.examples, self.batches, self.updates, self.pending];
        let counts = [&counts[..], &[self.keeps.into()]].concat();
        let frame = counts.into_iter().fold(frame, Frame::number);
        frame.number(self.learning_rate.to_bits())
    }

    pub fn read(rank: usize, bytes: &[u8]) -> Result<Self> {
        let mut read = Read(bytes);
        let call = Call::ALL.get(read.number() as usize).copied();
        let unknown = || Error::rank(rank, "calls what this version does not know");
        let (failed, words) = (read.number() != 0, read.words());
        Ok(Self {
            call: call.ok_or_else(unknown)?,
            failed: failed.then_some(words),
            examples: read.number(),
            batches: read.number(),
            updates: read.number(),
            pending: read.number(),
            keeps: read.number() != 0,
            learning_rate: f64::from_bits(read.number()),
        })
    }
}

/// What a rank has computed.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Done {
    /// Why nothing.
    pub failed: Option<String>,
    /// What its batch counts for; none where it had no batch.
    pub share: Option<f64>,
    /// The means and variances of its batch.
    pub statistics: Vec<f32>,
}

impl Done {
    pub fn frame(&self, statistics: usize) -> Frame {
        let mut values = self.statistics.clone();
        values.resize(statistics, 0.0);
        Frame::default()
            .number(self.failed.is_some().into())
            .words(self.failed.as_deref().unwrap_or_default())
            .number(self.share.is_some().into())
            .number(self.share.unwrap_or(0.0).to_bits())
            .values(&values)
    }

    pub fn read(bytes: &[u8]) -> Self {
        let mut read = Read(bytes);
        let (failed, words) = (read.number() != 0, read.words());
        let (counts, share) = (read.number() != 0, f64::from_bits(read.number()));
        Self {
            failed: failed.then_some(words),
            share: counts.then_some(share),
            statistics: read.values(),
        }
    }
}
