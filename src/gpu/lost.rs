//! Whether the device is still there.
//!
//! wgpu drops what is asked of a lost device in silence, and tells of the loss through a callback, of
//! which a device has one; on a device of the user's own it is the user's, and in any case it waits for
//! a poll that finds the queue empty. So the device is asked for what cannot be, and it is lost if it
//! does not refuse.

use std::fmt::Display;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use super::{Gpu, lock};
use crate::{Error, Result};

/// A buffer of no use, which a device refuses before it makes anything.
pub(super) const IMPOSSIBLE: wgpu::BufferDescriptor = wgpu::BufferDescriptor {
    label: Some("no buffer"),
    size: 4,
    usage: wgpu::BufferUsages::empty(),
    mapped_at_creation: false,
};

impl Gpu {
    /// The first error that came outside a call, if one did; the device's loss every time.
    pub(crate) fn check(&self) -> Result<()> {
        self.check_lost()?;
        let mut failure = lock(&self.inner.failure);
        match &*failure {
            None => Ok(()),
            Some(lost @ Error::DeviceLost { .. }) => Err(lost.clone()),
            Some(_) => failure.take().map_or(Ok(()), Err),
        }
    }

    /// Whether the device is there. Once it is lost, it stays so.
    pub(crate) fn check_lost(&self) -> Result<()> {
        self.known_loss()?;
        // The callback of a device of our own comes with a poll, and knows the reason.
        let _ = self.poll(wgpu::PollType::Poll)?;
        self.known_loss()?;
        match self.is_silent() {
            true => Err(self.lost("it was destroyed, or its driver has given it up")),
            false => Ok(()),
        }
    }

    fn known_loss(&self) -> Result<()> {
        match &*lock(&self.inner.failure) {
            Some(lost @ Error::DeviceLost { .. }) => Err(lost.clone()),
            _ => Ok(()),
        }
    }

    /// Remembers that the device is lost. The first reason stays.
    pub(super) fn lost(&self, reason: impl Display) -> Error {
        remember_loss(&mut lock(&self.inner.failure), reason)
    }

    /// What a command failed for: the device's loss where that is the reason.
    pub(crate) fn lost_or(&self, error: Error) -> Error {
        self.check_lost().err().unwrap_or(error)
    }

    /// Why a buffer could not be mapped, for which only the loss of its device is a reason.
    pub(crate) fn not_mapped(&self, reason: impl Display) -> Error {
        let message = format!("a buffer could not be mapped: {reason}");
        match self.check_lost() {
            Err(lost) => lost,
            // There a loss cannot be asked for.
            Ok(()) if cfg!(target_arch = "wasm32") => self.lost(message),
            Ok(()) => Error::Gpu { message },
        }
    }

    /// Lets wgpu see what the device has done. In the browser this is nothing.
    pub(super) fn poll(
        &self,
        kind: wgpu::PollType,
    ) -> Result<std::result::Result<wgpu::PollStatus, wgpu::PollError>> {
        let poll = || self.inner.device.poll(kind);
        match catch_unwind(AssertUnwindSafe(poll)) {
            Ok(polled) => Ok(polled),
            // wgpu panics where a driver answers that the device is gone.
            Err(_) if self.is_silent() => Err(self.lost("the driver has given it up")),
            // A callback of the program's own has panicked.
            Err(panic) => resume_unwind(panic),
        }
    }

    /// Whether the device says nothing to what it should refuse. In the browser the answer would come
    /// too late.
    fn is_silent(&self) -> bool {
        if cfg!(target_arch = "wasm32") {
            return false;
        }
        let device = &self.inner.device;
        let scope = device.push_error_scope(wgpu::ErrorFilter::Validation);
        drop(device.create_buffer(&IMPOSSIBLE));
        matches!(at_once(scope.pop()), Some(None))
    }
}

/// What a future gives that is ready, as those of native error scopes are.
pub(super) fn at_once<T>(future: impl Future<Output = T>) -> Option<T> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}

/// Puts a loss in the place of any other error, and gives back the first one.
pub(super) fn remember_loss(failure: &mut Option<Error>, reason: impl Display) -> Error {
    match failure {
        Some(lost @ Error::DeviceLost { .. }) => lost.clone(),
        other => {
            let reason = reason.to_string();
            other.insert(Error::DeviceLost { reason }).clone()
        }
    }
}

/// Lets other futures of the same thread go on once.
pub(crate) async fn give_way() {
    let mut given = false;
    std::future::poll_fn(|context| match std::mem::replace(&mut given, true) {
        true => Poll::Ready(()),
        false => {
            context.waker().wake_by_ref();
            Poll::Pending
        }
    })
    .await;
}
