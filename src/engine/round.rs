//! The batches that ranks compute at the same time.

/// What the ranks of a training compute at the same time, a batch each at most. A training of one rank has a
/// batch to a round.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Round {
    /// Examples of the ranks before this one.
    pub before: u64,
    /// Examples of all ranks.
    pub examples: u64,
    /// Batches of all ranks: some may have none.
    pub batches: u64,
    /// Whether it has begun: one without a batch on any rank is none the less a round.
    pub begun: bool,
}

impl Round {
    /// That of a rank by itself.
    pub fn alone(examples: usize) -> Self {
        Self {
            before: 0,
            examples: examples as u64,
            batches: 1,
            begun: true,
        }
    }
}
