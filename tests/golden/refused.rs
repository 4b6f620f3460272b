//! What of the sets the library does not have yet: the one list of it.

use serde_json::{Map, Value};

/// The lists by which networks tell their parameters apart.
const REFUSED_LISTS: &[&str] = &["frozen", "param_groups"];

/// Names of groups, of operators and of tags.
const REFUSED: &[&str] = &[
    // Other work.
    "3d",
    "optimizer2",
    "schedule",
    "ema",
    // Not yet.
    "network2",
    "relu6",
    "hard_tanh",
    "hard_sigmoid",
    "hard_swish",
    "selu",
    "celu",
    "mish",
    "softsign",
    "prelu",
    "mul",
    "add",
    "scale",
    "slice",
    "channel_shuffle",
    "channel_permute",
    "pixel_shuffle",
    "pixel_unshuffle",
    "pad2d",
    "upsample2d",
    "adaptive_avg_pool2d",
    "adaptive_max_pool2d",
    "loss2",
    "conv2",
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
    let named = |name: &str| options.get(name).is_some_and(filled);
    let list = REFUSED_LISTS.iter().copied().find(|name| named(name));
    let names: Vec<&str> = [group, op].into_iter().chain(tags).collect();
    let name = REFUSED.iter().copied().find(|name| names.contains(name));
    list.or(name)
}
