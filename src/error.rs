//! What can go wrong, as values.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::Shape;

/// The result of every fallible call of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// Everything that can go wrong. No call of this crate panics on its input.
///
/// After an error other than [`Error::DeviceLost`] the object that returned it is as it was before
/// the call and stays usable.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Error {
    /// No graphics adapter answers to what was asked for.
    NoAdapter {
        /// What was asked for, and what there is.
        reason: String,
    },
    /// A shape does not fit.
    Shape {
        /// The layer or argument, for example `layer 3 (conv2d)`.
        layer: String,
        /// What it expected.
        expected: String,
        /// What it got.
        got: String,
    },
    /// The adapter's limits are too small for the request.
    Limit {
        /// The limit by its WebGPU name, for example `max_storage_buffer_binding_size`.
        limit: &'static str,
        /// What needs it: a layer, a parameter, a buffer.
        what: String,
        /// How much is needed.
        needed: u64,
        /// How much there is.
        available: u64,
    },
    /// There is not enough memory, by the device's word or by the budget that the user has set.
    OutOfMemory {
        /// What was being allocated.
        what: String,
        /// Bytes needed.
        needed: u64,
        /// Bytes available, where that is known.
        available: Option<u64>,
    },
    /// The device is gone: the driver was reset, the adapter unplugged, or the device destroyed.
    /// Nothing that lived on it can be used again.
    DeviceLost {
        /// The driver's word.
        reason: String,
    },
    /// A file cannot be read or written, or does not hold what it should.
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// An argument is outside its domain.
    Argument {
        /// The argument, for example `learning rate` or `labels[3]`.
        argument: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Another rank of a [distributed](crate::distributed) training is gone, has failed, or does something else
    /// than this one.
    Rank {
        /// The rank.
        rank: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// The driver or wgpu refused a command: a defect of this crate or of the driver. The message
    /// belongs in a bug report.
    Gpu {
        /// wgpu's words.
        message: String,
    },
}

impl Error {
    pub(crate) fn argument(argument: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Argument {
            argument: argument.into(),
            reason: reason.into(),
        }
    }

    pub(crate) fn shape(
        layer: impl Into<String>,
        expected: impl Into<String>,
        got: impl fmt::Display,
    ) -> Self {
        Self::Shape {
            layer: layer.into(),
            expected: expected.into(),
            got: got.to_string(),
        }
    }

    pub(crate) fn rank(rank: usize, reason: impl Into<String>) -> Self {
        Self::Rank {
            rank,
            reason: reason.into(),
        }
    }

    pub(crate) fn file(path: &Path, reason: impl fmt::Display) -> Self {
        Self::File {
            path: path.to_owned(),
            reason: reason.to_string(),
        }
    }

    /// A slice that does not hold as many elements as `shape`.
    pub(crate) fn length(what: &str, shape: &Shape, got: usize) -> Self {
        Self::shape(
            what,
            format!("{} elements for shape {shape}", shape.len()),
            got,
        )
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoAdapter { reason } => write!(f, "no graphics adapter: {reason}"),
            Self::Shape {
                layer,
                expected,
                got,
            } => {
                write!(f, "{layer}: expected {expected}, got {got}")
            }
            Self::Limit {
                limit,
                what,
                needed,
                available,
            } => {
                write!(
                    f,
                    "{what} needs {limit} of {needed}, the device has {available}"
                )
            }
            Self::OutOfMemory {
                what,
                needed,
                available: Some(available),
            } => {
                write!(
                    f,
                    "out of memory: {what} needs {needed} bytes of {available}"
                )
            }
            Self::OutOfMemory {
                what,
                needed,
                available: None,
            } => {
                write!(f, "out of memory: {what} needs {needed} bytes")
            }
            Self::DeviceLost { reason } => write!(f, "the device is lost: {reason}"),
            Self::File { path, reason } => write!(f, "{}: {reason}", path.display()),
            Self::Argument { argument, reason } => write!(f, "{argument}: {reason}"),
            Self::Rank { rank, reason } => write!(f, "rank {rank}: {reason}"),
            Self::Gpu { message } => write!(f, "the GPU refused a command: {message}"),
        }
    }
}

impl std::error::Error for Error {}

/// What a panic in code that is not this crate's says.
#[cfg(any(feature = "native", feature = "data"))]
pub(crate) fn words_of_panic(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_string());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    text.unwrap_or_else(|| "without words".into())
}
