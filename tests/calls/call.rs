//! What is called.

use crate::draw::Draw;

/// The weight of the slowest.
pub const SLOW: usize = 4;

/// A call with arguments that are drawn.
pub struct Call {
    /// The functions that it calls, by the names that the source gives them.
    pub names: &'static [&'static str],
    /// How often it is drawn beside the others; those of [`SLOW`] take seconds.
    pub weight: usize,
    /// Whether the functions gave a value, and no error.
    pub run: fn(&mut Draw) -> bool,
}

impl Call {
    /// A call that takes microseconds.
    pub const fn quick(names: &'static [&'static str], run: fn(&mut Draw) -> bool) -> Self {
        Self {
            names,
            weight: 2_000,
            run,
        }
    }

    /// A call that takes milliseconds.
    pub const fn medium(names: &'static [&'static str], run: fn(&mut Draw) -> bool) -> Self {
        Self {
            names,
            weight: 400,
            run,
        }
    }

    /// A call that compiles for a device.
    pub const fn on_device(names: &'static [&'static str], run: fn(&mut Draw) -> bool) -> Self {
        Self {
            names,
            weight: 60,
            run,
        }
    }

    /// A call that takes seconds.
    pub const fn slow(names: &'static [&'static str], run: fn(&mut Draw) -> bool) -> Self {
        Self {
            names,
            weight: SLOW,
            run,
        }
    }
}

/// Every call, or those that need no device.
pub fn calls(on_device: bool) -> Vec<Call> {
    let mut calls = crate::cpu::calls();
    calls.extend(crate::norm::calls());
    calls.extend(crate::data::calls());
    calls.extend(crate::distributed::calls());
    calls.extend(crate::op::calls());
    calls.extend(crate::joined::calls());
    calls.extend(crate::resize::calls());
    calls.extend(crate::model::calls());
    calls.extend(crate::zoo::calls());
    calls.extend(crate::graph::calls());
    calls.extend(crate::learned::calls());
    calls.extend(crate::train::calls());
    calls.extend(crate::look::calls());
    calls.extend(crate::schedule::calls());
    calls.extend(crate::weights::calls());
    calls.extend(crate::evaluate::calls());
    calls.extend(crate::checkpoint::calls());
    if on_device {
        calls.extend(crate::ops::calls());
        calls.extend(crate::gpu::calls());
        calls.extend(crate::look::on_device());
        calls.extend(crate::checkpoint::calls_on_device());
    }
    calls
}
