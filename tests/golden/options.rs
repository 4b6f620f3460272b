//! Options by name. One that nobody has asked for is unknown, and fails its case.

use std::cell::RefCell;
use std::collections::BTreeSet;

use serde_json::{Map, Value};
use wgpu_cnn::{Padding, Size2};

pub struct Options<'a> {
    values: &'a Map<String, Value>,
    unread: RefCell<BTreeSet<&'a str>>,
}

impl<'a> Options<'a> {
    pub fn new(values: &'a Map<String, Value>) -> Self {
        let unread = RefCell::new(values.keys().map(String::as_str).collect());
        Self { values, unread }
    }

    /// An error where an option has not been asked for.
    pub fn finish(self) -> Result<(), String> {
        match self.unread.into_inner().pop_first() {
            Some(name) => Err(format!("unknown option {name:?}")),
            None => Ok(()),
        }
    }

    pub fn get(&self, name: &str) -> Option<&'a Value> {
        self.unread.borrow_mut().remove(name);
        self.values.get(name).filter(|value| !value.is_null())
    }

    /// Asks for options that say again what the shapes of the tensors say.
    pub fn redundant(&self, names: &[&str]) {
        names.iter().for_each(|name| {
            self.get(name);
        });
    }

    pub fn number(&self, name: &str, default: f64) -> Result<f64, String> {
        self.typed(name, default, Value::as_f64, "number")
    }

    /// A number, or null.
    pub fn number_or_null(&self, name: &str, default: f64) -> Result<Option<f64>, String> {
        if self.values.get(name).is_some_and(Value::is_null) {
            self.get(name);
            return Ok(None);
        }
        self.number(name, default).map(Some)
    }

    pub fn integer(&self, name: &str, default: i64) -> Result<i64, String> {
        self.typed(name, default, Value::as_i64, "whole number")
    }

    pub fn flag(&self, name: &str, default: bool) -> Result<bool, String> {
        self.typed(name, default, Value::as_bool, "boolean")
    }

    pub fn text(&self, name: &str, default: &'a str) -> Result<&'a str, String> {
        self.typed(name, default, Value::as_str, "text")
    }

    pub fn extent(&self, name: &str, default: usize) -> Result<usize, String> {
        self.typed(name, default, extent, "extent")
    }

    fn typed<T>(
        &self,
        name: &str,
        default: T,
        read: impl Fn(&'a Value) -> Option<T>,
        kind: &str,
    ) -> Result<T, String> {
        match self.get(name) {
            Some(value) => read(value).ok_or(format!("{name} is {value}, not a {kind}")),
            None => Ok(default),
        }
    }

    /// A number, or a list of numbers.
    pub fn list<T>(
        &self,
        name: &str,
        read: fn(&Value) -> Option<T>,
    ) -> Result<Option<Vec<T>>, String> {
        let Some(value) = self.get(name) else {
            return Ok(None);
        };
        let list = match value {
            Value::Array(list) => list.iter().map(read).collect(),
            value => read(value).map(|value| vec![value]),
        };
        list.map(Some).ok_or(format!("{name} is {value}"))
    }

    /// An extent per axis, or one for all of `axes`; along the missing axis of a signal it is `unit`.
    pub fn size(&self, name: &str, axes: usize, unit: usize) -> Result<Option<Size2>, String> {
        let Some(extents) = self.list(name, extent)? else {
            return Ok(None);
        };
        let size = match (axes, &extents[..]) {
            (1, &[width]) => [unit, width],
            (2, &[both]) => [both, both],
            (2, &[height, width]) => [height, width],
            _ => return Err(format!("{name} is {extents:?}, for {axes} axes")),
        };
        Ok(Some(size.into()))
    }

    /// `padding4`, else `padding2` of a signal, else `padding`: extents, "same" or "valid".
    pub fn padding(&self, axes: usize) -> Result<Padding, String> {
        let (four, two) = (
            self.list("padding4", extent)?,
            self.list("padding2", extent)?,
        );
        let (sides, both) = (four.or(two), self.get("padding"));
        match (sides.as_deref(), both.and_then(Value::as_str)) {
            (Some(&[top, bottom, left, right]), _) => Ok([top, bottom, left, right].into()),
            (Some(&[before, after]), _) if axes == 1 => Ok([0, 0, before, after].into()),
            (Some(sides), _) => Err(format!("padding4 is {sides:?}")),
            (None, Some("same")) => Ok(Padding::Same),
            (None, Some("valid")) => Ok(Padding::ZERO),
            (None, _) => {
                let size = self.size("padding", axes, 0)?.unwrap_or(Size2::from(0));
                Ok([size.height, size.width].into())
            }
        }
    }
}

/// A whole number that is not negative.
pub fn extent(value: &Value) -> Option<usize> {
    value.as_u64().and_then(|value| usize::try_from(value).ok())
}
