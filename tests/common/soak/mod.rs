//! Random models, trained side by side on a GPU and on the CPU. A seed gives a model with everything
//! about its training; each is trained for a few steps, with batches that are not full among them, and
//! whatever a user can read is compared after each step. The example `soak` runs thousands of them, the
//! tests the first few.
#![allow(unused_imports)] // the example builds no models of its own

mod data;
mod draw;
mod driver;
mod layer;
mod operator;
mod race;
mod reduce;
mod tolerance;

use std::panic::{AssertUnwindSafe, catch_unwind};

pub use draw::{Batch, Drawn, Fill};
pub use layer::{Layer, Network};
pub use reduce::reduce;
pub use tolerance::Tally;

use wgpu_cnn::Gpu;

/// What came of a model.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// GPU and CPU agree.
    Equal(Tally),
    /// Numbers that are not finite, or so large that f32 will not hold the next ones: nothing to compare.
    SetAside(String),
    /// What they differ in.
    Differs(String),
}

/// How many runs of the reference with noise say how far results may be apart: first these few, and
/// where they find a difference, these many. A rounding may take another way at a kink (the maximum of
/// two values that are nearly one, a ReLU near zero), and a few runs may all miss that.
const RUNS: [usize; 3] = [3, 24, 96];

/// Trains a model on both and compares. A panic is a difference.
pub fn run(drawn: &Drawn, gpu: &Gpu) -> Outcome {
    run_unlike(drawn, drawn, gpu)
}

/// The same with another model on the GPU, in place of a fault there.
pub fn run_unlike(drawn: &Drawn, on_gpu: &Drawn, gpu: &Gpu) -> Outcome {
    let mut outcome = Outcome::SetAside("nothing was run".into());
    for (attempt, runs) in RUNS.into_iter().enumerate() {
        let attempted = catch_unwind(AssertUnwindSafe(|| race::race(drawn, on_gpu, gpu, runs)));
        outcome = attempted.unwrap_or_else(|panic| {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| text.to_string()));
            Outcome::Differs(format!("a panic: {}", text.unwrap_or_default()))
        });
        match &mut outcome {
            Outcome::Equal(tally) => {
                tally.again = attempt;
                break;
            }
            Outcome::SetAside(_) => break,
            Outcome::Differs(_) => {}
        }
    }
    outcome
}
