//! Batches made ahead on threads, with a bound on how many lie ready.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};

use super::task::{Made, Task};
use crate::{Error, Result};

/// How many threads, and how far ahead.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Threads {
    pub count: usize,
    pub ahead: Option<usize>,
}

impl Threads {
    /// Refuses numbers that can only be mistakes.
    pub fn check(&self) -> Result<()> {
        const MOST: usize = 1024;
        if self.count > MOST {
            let reason = format!("{} threads, of {MOST} at most", self.count);
            return Err(Error::argument("workers", reason));
        }
        match self.ahead {
            Some(0) => Err(Error::argument("ahead", "must not be 0")),
            _ => Ok(()),
        }
    }

    /// Begins to make the batches of a task. `None` where there are to be no threads, or the system gives none.
    pub fn start(&self, task: &Arc<Task>) -> Option<Ahead> {
        let count = self.count.min(task.rounds());
        let ahead = self.ahead.unwrap_or(2 * self.count).max(1);
        let queue = Arc::new(Queue {
            state: Mutex::new(State {
                next: 0,
                given: 0,
                made: BTreeMap::new(),
            }),
            changed: Condvar::new(),
            ahead,
            task: task.clone(),
        });
        let threads = (0..count).map_while(|_| {
            let queue = queue.clone();
            let thread = Builder::new().name("wgpu-cnn data".into());
            let thread = thread.spawn(move || queue.work());
            thread
                .inspect_err(|error| log::warn!("no thread to load data on: {error}"))
                .ok()
        });
        let threads: Vec<_> = threads.collect();
        // Not `then_some`: what drops one ends the task.
        (!threads.is_empty()).then(|| Ahead { queue, threads })
    }
}

/// Threads that make batches, and the batches that lie ready. Dropping it ends them.
pub(super) struct Ahead {
    queue: Arc<Queue>,
    threads: Vec<JoinHandle<()>>,
}

struct Queue {
    state: Mutex<State>,
    changed: Condvar,
    ahead: usize,
    task: Arc<Task>,
}

struct State {
    /// The round whose batch is made next, and the one whose batch is given next.
    next: usize,
    given: usize,
    made: BTreeMap<usize, Result<Made>>,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        self.changed
            .wait(state)
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn stopped(&self) -> bool {
        self.task.stop.load(Ordering::Relaxed)
    }

    /// A thread's life.
    fn work(&self) {
        let mut state = self.lock();
        while !self.stopped() && state.next < self.task.rounds() {
            if state.next - state.given >= self.ahead {
                state = self.wait(state);
                continue;
            }
            let round = state.next;
            state.next += 1;
            drop(state);
            let made = self.task.make(round);
            state = self.lock();
            state.made.insert(round, made);
            self.changed.notify_all();
        }
    }
}

impl Ahead {
    /// The next batch. It is being made, or will be: each number that was taken by a thread comes.
    pub fn take(&self) -> Result<Made> {
        let mut state = self.queue.lock();
        loop {
            let given = state.given;
            if let Some(made) = state.made.remove(&given) {
                state.given += 1;
                self.queue.changed.notify_all();
                return made;
            }
            state = self.queue.wait(state);
        }
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        // Under the lock, so that no thread is between the question and its sleep.
        let state = self.queue.lock();
        self.queue.task.stop.store(true, Ordering::Relaxed);
        self.queue.changed.notify_all();
        drop(state);
        for thread in self.threads.drain(..) {
            // What it panicked on, if it did, has been given as an error.
            let _ = thread.join();
        }
    }
}
