//! From names in a file to names in a model, and back.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use crate::Pattern;

/// What is done to a name, in the order in which it was asked for.
#[derive(Debug, Clone, Default)]
pub(super) struct Names {
    steps: Vec<Step>,
    /// The model's names that are left out.
    skipped: Vec<Pattern>,
}

#[derive(Clone)]
enum Step {
    Strip(String),
    Add(String),
    Table(Arc<HashMap<String, String>>),
    Function(Arc<dyn Fn(&str) -> String + Send + Sync>),
}

impl fmt::Debug for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Strip(prefix) => write!(f, "Strip({prefix:?})"),
            Self::Add(prefix) => write!(f, "Add({prefix:?})"),
            Self::Table(table) => write!(f, "Table(of {})", table.len()),
            Self::Function(_) => f.write_str("Function"),
        }
    }
}

impl Names {
    pub fn strip(&mut self, prefix: impl Into<String>) {
        self.steps.push(Step::Strip(prefix.into()));
    }

    pub fn add(&mut self, prefix: impl Into<String>) {
        self.steps.push(Step::Add(prefix.into()));
    }

    pub fn table<A: Into<String>, B: Into<String>>(
        &mut self,
        names: impl IntoIterator<Item = (A, B)>,
    ) {
        let names = names.into_iter().map(|(old, new)| (old.into(), new.into()));
        self.steps.push(Step::Table(Arc::new(names.collect())));
    }

    pub fn function(&mut self, function: impl Fn(&str) -> String + Send + Sync + 'static) {
        self.steps.push(Step::Function(Arc::new(function)));
    }

    pub fn skip(&mut self, pattern: impl Into<Pattern>) {
        self.skipped.push(pattern.into());
    }

    /// What a name becomes; none where it lacks a prefix that is to be taken off.
    pub fn renamed(&self, name: &str) -> Option<String> {
        self.steps.iter().try_fold(name.to_owned(), |name, step| {
            Some(match step {
                Step::Strip(prefix) => name.strip_prefix(&**prefix)?.to_owned(),
                Step::Add(prefix) => format!("{prefix}{name}"),
                Step::Table(table) => table.get(&name).cloned().unwrap_or(name),
                Step::Function(function) => function(&name),
            })
        })
    }

    /// Whether the model's name is left out.
    pub fn skips(&self, name: &str) -> bool {
        self.skipped.iter().any(|pattern| pattern.matches(name))
    }
}
