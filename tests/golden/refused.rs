//! What of the sets the library does not have yet: the one list of it.

/// Names of groups, of operators and of tags.
const REFUSED: &[&str] = &["3d"];

/// The name under which a case is refused: its group, its operator or one of its tags.
pub fn refused<'a>(
    group: &'a str,
    op: &'a str,
    tags: impl IntoIterator<Item = &'a str>,
) -> Option<&'static str> {
    let names: Vec<&str> = [group, op].into_iter().chain(tags).collect();
    REFUSED.iter().copied().find(|name| names.contains(name))
}
