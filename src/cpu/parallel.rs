//! Work on every core: the one place that knows whether there are threads.

/// Runs `work` on every item, on all cores where the feature `native` is on. The items must be
/// independent of each other (disjoint chunks of the outputs), so that the order is immaterial.
pub(super) fn for_each<I: Send>(items: impl Iterator<Item = I>, work: impl Fn(I) + Send + Sync) {
    for_each_with(items, || (), |(), item| work(item));
}

/// As [`for_each`], with scratch memory that `init` makes, where there is an item, and that several of them
/// may use in turn.
#[cfg(feature = "native")]
pub(super) fn for_each_with<I: Send, S>(
    items: impl Iterator<Item = I>,
    init: impl Fn() -> S + Send + Sync,
    work: impl Fn(&mut S, I) + Send + Sync,
) {
    use rayon::prelude::*;
    let items: Vec<I> = items.collect();
    if items.is_empty() {
        return; // of nothing, planes may be of any extents, and scratch memory with them
    }
    items.into_par_iter().for_each_init(init, work);
}

/// As [`for_each`], with scratch memory that `init` makes, where there is an item, and that several of them
/// may use in turn.
#[cfg(not(feature = "native"))]
pub(super) fn for_each_with<I: Send, S>(
    items: impl Iterator<Item = I>,
    init: impl Fn() -> S + Send + Sync,
    work: impl Fn(&mut S, I) + Send + Sync,
) {
    let mut scratch = None;
    items.for_each(|item| work(scratch.get_or_insert_with(&init), item));
}

/// Runs `work` where [`for_each`] hands out its items without waking anybody first: each call from elsewhere would put
/// its thread to sleep until others have done the work. A worker that waits for others may take up another caller's
/// whole work meanwhile, as it may an item of theirs.
#[cfg(feature = "native")]
pub(crate) fn among_workers<R: Send>(work: impl FnOnce() -> R + Send) -> R {
    rayon::scope(|_| work())
}

/// Runs `work`.
#[cfg(not(feature = "native"))]
pub(crate) fn among_workers<R: Send>(work: impl FnOnce() -> R + Send) -> R {
    work()
}
