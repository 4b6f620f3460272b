//! The operators' cases that a run of the tests is to try.

use wgpu_cnn::engine::catalogue::{Case, cases};

/// The cases of every operator, or of the one that `WGPU_CNN_OPERATOR` names.
pub fn chosen() -> Vec<Case> {
    let only = std::env::var("WGPU_CNN_OPERATOR").ok();
    let is_it = |case: &Case| only.as_ref().is_none_or(|only| case.op.name() == only);
    let chosen: Vec<Case> = cases().into_iter().filter(is_it).collect();
    assert!(!chosen.is_empty(), "no operator is called {only:?}");
    chosen
}
