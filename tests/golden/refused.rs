//! What of the sets the library does not have yet: the one list of it.

use serde_json::{Map, Value};

/// Names of groups, of operators and of tags, and of the lists by which networks tell their parameters
/// apart.
const REFUSED: &[&str] = &[
    // Other work.
    "3d",
    "optimizer2",
    "schedule",
    "ema",
    "frozen",
    "param_groups",
    // Not yet.
    "network2",
    "mul",
    "add",
    "scale",
    "slice",
    "channel_shuffle",
    "channel_permute",
    "pixel_shuffle",
    "pixel_unshuffle",
    "upsample2d",
    "adaptive_avg_pool2d",
    "adaptive_max_pool2d",
    "norm2",
    "loss2",
];

/// The name under which a case is refused: its group, its operator, one of its tags, or a list of its
/// network's that is not empty.
pub fn refused<'a>(
    group: &'a str,
    op: &'a str,
    tags: impl IntoIterator<Item = &'a str>,
    options: &'a Map<String, Value>,
) -> Option<&'static str> {
    let filled = |value: &Value| value.as_array().is_some_and(|list| !list.is_empty());
    let lists = options.iter().filter(|(_, value)| filled(value));
    let mut names: Vec<&str> = [group, op].into_iter().chain(tags).collect();
    names.extend(lists.map(|(name, _)| name.as_str()));
    REFUSED.iter().copied().find(|name| names.contains(name))
}
