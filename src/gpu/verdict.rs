//! What a device says of commands: natively at once, in a browser some milliseconds later. So what is made of many
//! commands begins all of them and waits for the verdicts together.

use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use super::lost::give_way;
use super::{Debugging, Gpu};
use crate::{Error, Result};

/// Open error scopes. They belong to the thread that opened them.
pub(crate) struct Scopes {
    validation: wgpu::ErrorScopeGuard,
    memory: wgpu::ErrorScopeGuard,
    internal: wgpu::ErrorScopeGuard,
    answers_later: bool,
}

impl Scopes {
    pub(super) fn open(device: &wgpu::Device, debugging: Debugging) -> Self {
        Self {
            validation: device.push_error_scope(wgpu::ErrorFilter::Validation),
            memory: device.push_error_scope(wgpu::ErrorFilter::OutOfMemory),
            internal: device.push_error_scope(wgpu::ErrorFilter::Internal),
            answers_later: debugging.answers_later,
        }
    }

    /// Closes them at once. What wgpu says comes later; `what` names it, and `needed` is the bytes that were asked for.
    pub fn close<S: AsRef<str>>(
        self,
        what: S,
        needed: u64,
    ) -> impl Future<Output = Result<()>> + use<S> {
        let (internal, memory, validation) = (
            self.internal.pop(),
            self.memory.pop(),
            self.validation.pop(),
        );
        let later = self.answers_later;
        async move {
            if later {
                give_way().await;
            }
            let errors = [internal.await, memory.await, validation.await];
            let what = what.as_ref();
            match errors.into_iter().flatten().next() {
                Some(wgpu::Error::OutOfMemory { .. }) => Err(Error::OutOfMemory {
                    what: what.into(),
                    needed,
                    available: None,
                }),
                Some(error) => Err(Error::Gpu {
                    message: format!("{what}: {error}"),
                }),
                None => Ok(()),
            }
        }
    }
}

/// What a verdict is waited for with: it can be sent to another thread wherever there are any.
trait Answer: Future<Output = Result<()>> + wgpu::WasmNotSend {}
impl<F: Future<Output = Result<()>> + wgpu::WasmNotSend> Answer for F {}

/// What a device says of commands that it has been given.
#[must_use]
pub(crate) struct Verdict {
    gpu: Gpu,
    /// `None` where it was good, at once.
    later: Option<Pin<Box<dyn Answer>>>,
}

impl Verdict {
    /// Waits for it.
    pub async fn known(self) -> Result<()> {
        if let Some(later) = self.later {
            later.await.map_err(|error| self.gpu.lost_or(error))?;
            self.gpu.check()?;
        }
        Ok(())
    }
}

/// The verdicts on commands that are parts of one whole.
#[must_use]
pub(crate) struct Verdicts {
    gpu: Gpu,
    open: Vec<Verdict>,
}

impl Verdicts {
    pub fn of(gpu: &Gpu) -> Self {
        Self {
            gpu: gpu.clone(),
            open: Vec::new(),
        }
    }

    /// Runs commands and gives back what wgpu says of them. An error that is not known at once comes with
    /// [`known`](Self::known).
    pub fn guard<R>(
        &mut self,
        what: impl Into<String>,
        needed: u64,
        commands: impl FnOnce() -> R,
    ) -> Result<R> {
        let (result, verdict) = self.gpu.begin(what, needed, commands)?;
        if verdict.later.is_some() {
            self.open.push(verdict);
        }
        Ok(result)
    }

    /// Waits for all of them, and gives the first error.
    pub async fn known(self) -> Result<()> {
        for verdict in self.open {
            verdict.known().await?;
        }
        Ok(())
    }
}

impl Gpu {
    /// Runs `commands` and gives back what wgpu says of them. `what` names them in errors.
    pub(crate) async fn guard<R>(&self, what: &str, commands: impl FnOnce() -> R) -> Result<R> {
        let (result, verdict) = self.begin(what, 0, commands)?;
        verdict.known().await?;
        Ok(result)
    }

    /// Runs `commands`, and fails where the device refuses them at once. `needed` is the bytes that they ask for.
    pub(super) fn begin<R>(
        &self,
        what: impl Into<String>,
        needed: u64,
        commands: impl FnOnce() -> R,
    ) -> Result<(R, Verdict)> {
        self.check()?;
        let scopes = self.scopes();
        let result = commands();
        let mut verdict: Pin<Box<dyn Answer>> = Box::pin(scopes.close(what.into(), needed));
        let now = verdict
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()));
        let later = match now {
            Poll::Pending => Some(verdict),
            Poll::Ready(known) => {
                known.map_err(|error| self.lost_or(error))?;
                self.check()?;
                None
            }
        };
        let gpu = self.clone();
        Ok((result, Verdict { gpu, later }))
    }

    /// Catches the errors of what this thread does until they are closed.
    pub(crate) fn scopes(&self) -> Scopes {
        Scopes::open(&self.inner.device, self.inner.debugging)
    }
}

#[cfg(all(test, feature = "native"))]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::gpu::lost::IMPOSSIBLE;
    use crate::{Model, Trainer};

    /// Asks for what no device makes between two things that it makes.
    fn three(gpu: &Gpu, verdicts: &mut Verdicts) -> Result<()> {
        let possible = wgpu::BufferDescriptor {
            usage: wgpu::BufferUsages::STORAGE,
            ..IMPOSSIBLE
        };
        for (what, descriptor) in [
            ("first", &possible),
            ("second", &IMPOSSIBLE),
            ("third", &possible),
        ] {
            verdicts.guard(what, 4, || drop(gpu.device().create_buffer(descriptor)))?;
        }
        Ok(())
    }

    #[test]
    fn an_error_that_comes_later_names_what_it_is_of() {
        for later in [false, true] {
            let builder = Gpu::builder();
            let builder = if later {
                builder.answers_later()
            } else {
                builder
            };
            let Some(gpu) = crate::device::device(builder) else {
                return;
            };
            let mut verdicts = Verdicts::of(&gpu);
            let at_once = three(&gpu, &mut verdicts);
            assert_eq!(at_once.is_ok(), later);
            let error = at_once.and_then(|()| pollster::block_on(verdicts.known()));
            let error = error.unwrap_err().to_string();
            assert!(error.contains("second: "), "{error}");
        }
    }

    #[test]
    fn who_listens_hears_of_each_pipeline_once() {
        let Some(gpu) = crate::device::device(Gpu::builder()) else {
            return;
        };
        let heard = Arc::new([0; 3].map(AtomicUsize::new));
        let listener = heard.clone();
        gpu.on_compiled(move |done, all| {
            let [calls, sum, count] = &*listener;
            calls.fetch_add(1, Ordering::Relaxed);
            sum.fetch_add(done, Ordering::Relaxed);
            count.store(all, Ordering::Relaxed);
        });
        let make = || {
            let model = Model::builder([4]).dense(3).relu().dense(2).build()?;
            Trainer::builder(model).batch(2).on(&gpu)
        };
        make().unwrap();
        let [calls, sum, all] = [0, 1, 2].map(|at| heard[at].load(Ordering::Relaxed));
        assert!(all > 3, "{all} pipelines");
        assert_eq!((calls, sum), (all, all * (all + 1) / 2));
        make().unwrap();
        assert_eq!(
            heard[0].load(Ordering::Relaxed),
            all,
            "nothing is compiled twice"
        );
    }
}
