//! Training that is interrupted and goes on with the same bits.

mod state;

pub(super) use state::TrainingState;
