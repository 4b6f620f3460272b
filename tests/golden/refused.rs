//! What of the sets the library does not have yet: the one list of it.

use serde_json::{Map, Value};

/// Names of groups, of operators and of tags.
const REFUSED: &[&str] = &["3d", "no_decay_1d"];

/// The lists by which networks tell their parameters apart.
const REFUSED_LISTS: [&str; 2] = ["frozen", "param_groups"];

/// The name under which a case is refused: its group, its operator, one of its tags, or a list of its
/// network's that is not empty.
pub fn refused<'a>(
    group: &'a str,
    op: &'a str,
    tags: impl IntoIterator<Item = &'a str>,
    options: &'a Map<String, Value>,
) -> Option<&'static str> {
    let filled = |value: &Value| value.as_array().is_some_and(|list| !list.is_empty());
    // Of other lists some have the name of an operator, as the scale of an upsampling.
    let lists = options
        .iter()
        .filter(|(name, _)| REFUSED_LISTS.contains(&name.as_str()));
    let lists = lists.filter(|(_, value)| filled(value));
    let lists: Vec<&str> = lists.map(|(name, _)| name.as_str()).collect();
    let names: Vec<&str> = [group, op].into_iter().chain(tags).collect();
    let list = REFUSED_LISTS.into_iter().find(|name| lists.contains(name));
    list.or_else(|| REFUSED.iter().copied().find(|name| names.contains(name)))
}
