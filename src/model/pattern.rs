//! Names by pattern.

use std::fmt;
use std::sync::Arc;

/// Which of a model's names are meant: those that a text with `*` matches, or those for which a function
/// is true.
///
/// A text is held to the whole name, and each `*` in it stands for any characters, dots among them, or
/// none: `layer1.*` is `layer1.0.weight`, but neither `layer1` nor `layer10.weight`; `*.bias` is every bias;
/// `*` is all. A name without `*` is that name alone.
///
/// Every function of the crate that takes patterns takes texts and functions as they are, since either
/// becomes one:
///
/// ```
/// use wgpu_cnn::Pattern;
/// let [trunk, biases] = ["layer1.*", "*.bias"].map(Pattern::from);
/// assert!(trunk.matches("layer1.0.weight") && !trunk.matches("layer10.0.weight"));
/// assert!(biases.matches("layer1.0.bias") && !biases.matches("bias"));
/// let head = Pattern::from(|name: &str| name.starts_with("fc"));
/// assert!(head.matches("fc.weight"));
/// ```
#[derive(Clone)]
pub struct Pattern(Kind);

#[derive(Clone)]
enum Kind {
    Text(String),
    Function(Arc<dyn Fn(&str) -> bool + Send + Sync>),
}

impl Pattern {
    /// Whether it means this name.
    pub fn matches(&self, name: &str) -> bool {
        match &self.0 {
            Kind::Text(text) => matches(text.as_bytes(), name.as_bytes()),
            Kind::Function(function) => function(name),
        }
    }
}

impl From<&str> for Pattern {
    fn from(text: &str) -> Self {
        Self(Kind::Text(text.into()))
    }
}

impl From<&String> for Pattern {
    fn from(text: &String) -> Self {
        Self(Kind::Text(text.clone()))
    }
}

impl From<String> for Pattern {
    fn from(text: String) -> Self {
        Self(Kind::Text(text))
    }
}

impl<F> From<F> for Pattern
where
    F: Fn(&str) -> bool + Send + Sync + 'static,
{
    fn from(function: F) -> Self {
        Self(Kind::Function(Arc::new(function)))
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Text(text) => write!(f, "{text:?}"),
            Kind::Function(_) => f.write_str("a function of names"),
        }
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Whether a text with `*` is a name. Only the last `*` is ever gone back to: what is before it was found at
/// its first place, and no later one could help.
fn matches(text: &[u8], name: &[u8]) -> bool {
    let (mut at, mut from) = (0, 0);
    // Behind the last `*`, and what of the name it does not stand for.
    let mut star = None;
    while from < name.len() {
        match text.get(at) {
            Some(b'*') => {
                at += 1;
                star = Some((at, from));
            }
            Some(&byte) if byte == name[from] => {
                at += 1;
                from += 1;
            }
            _ => match &mut star {
                Some((behind, taken)) => {
                    *taken += 1;
                    (at, from) = (*behind, *taken);
                }
                None => return false,
            },
        }
    }
    text[at..].iter().all(|&byte| byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a text means, said by recursion.
    fn means(text: &[u8], name: &[u8]) -> bool {
        match (text, name) {
            ([b'*', rest @ ..], _) => (0..=name.len()).any(|at| means(rest, &name[at..])),
            ([a, text @ ..], [b, name @ ..]) => a == b && means(text, name),
            _ => text.is_empty() && name.is_empty(),
        }
    }

    #[test]
    fn a_text_is_held_to_the_whole_name() {
        let cases = [
            ("layer1.*", "layer1.0.weight", true),
            ("layer1.*", "layer1.", true),
            ("layer1.*", "layer10.weight", false),
            ("layer1.*", "layer1", false),
            ("*.bias", "fc.bias", true),
            ("*.bias", "fc.bias.x", false),
            ("fc.weight", "fc.weight", true),
            ("fc", "fc.weight", false),
            ("*", "", true),
            ("", "", true),
            ("", "a", false),
            ("*bn*.weight", "layer1.0.bn2.weight", true),
            ("a*b*c", "abcbc", true),
            ("couche.é*", "couche.élan", true),
        ];
        for (text, name, expected) in cases {
            assert_eq!(Pattern::from(text).matches(name), expected, "{text} {name}");
        }
    }

    #[test]
    fn all_short_texts_mean_what_the_recursion_says() {
        let words = |letters: &[u8], len: u32| -> Vec<Vec<u8>> {
            let all = (0..=len).flat_map(|len| (0..letters.len().pow(len)).map(move |n| (len, n)));
            all.map(|(len, mut number)| {
                let letter = |_| {
                    let letter = letters[number % letters.len()];
                    number /= letters.len();
                    letter
                };
                (0..len).map(letter).collect()
            })
            .collect()
        };
        let names = words(b"ab", 5);
        for text in words(b"ab*", 4) {
            for name in &names {
                assert_eq!(
                    matches(&text, name),
                    means(&text, name),
                    "{text:?} {name:?}"
                );
            }
        }
    }

    #[test]
    fn many_stars_take_no_longer() {
        let name = "a".repeat(10_000);
        assert!(!Pattern::from("*a".repeat(500) + "b").matches(&name));
    }
}
