//! Vectors as wide as the processor has them. The one place that asks.
//!
//! The crate is compiled for every processor of an architecture. What runs here is compiled a second time, for those
//! x86-64 processors that have AVX2, whose vectors hold eight `f32`s instead of four. The bits are the same on all of
//! them: no sum changes its order with the width, and nothing multiplies and adds in one rounding, which the others
//! could not do.

/// Work to run on wide vectors. All that takes time in it must be inlined into `run`, which is `#[inline(always)]`:
/// what stays a call is compiled for narrow ones.
pub(super) trait Work {
    /// What it gives.
    type Output;

    /// Does the work.
    fn run(self) -> Self::Output;
}

/// Runs `work` on the widest vectors of this processor.
pub(super) fn widest<W: Work>(work: W) -> W::Output {
    #[cfg(target_arch = "x86_64")]
    if std::is_x86_feature_detected!("avx2") {
        // SAFETY: the processor has what the function is compiled for, as was asked just now.
        return unsafe { with_avx2(work) };
    }
    work.run()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn with_avx2<W: Work>(work: W) -> W::Output {
    work.run()
}
