//! What of a model is learned: names by pattern.

use wgpu_cnn::Pattern;

use crate::call::Call;
use crate::draw::Draw;

pub fn calls() -> Vec<Call> {
    vec![Call::quick(&["Pattern::matches"], |d| {
        let (text, name) = (text(d), text(d));
        let pattern = Pattern::from(&text);
        assert!(text != name || pattern.matches(&name));
        !format!("{pattern} {pattern:?}").is_empty() && pattern.matches(&name)
    })]
}

/// A pattern, or a name.
pub fn text(d: &mut Draw) -> String {
    let letter = |d: &mut Draw| d.pick(&['a', '0', '.', '*', 'é', '\0']);
    let len = if d.is_hostile() { 1000 } else { d.below(6) };
    (0..len).map(|_| letter(d)).collect()
}
