//! Names and shapes of the state dicts of torchvision's networks, and of U-Net: `names.txt`.

use std::collections::BTreeMap;

/// A tensor's name and shape.
pub type Entry = (String, Vec<usize>);

/// The tensors of every network, in PyTorch's order.
pub fn networks() -> BTreeMap<&'static str, Vec<Entry>> {
    let mut networks = BTreeMap::new();
    let mut lines = include_str!("names.txt").lines().peekable();
    while let Some(name) = lines.next() {
        let mut entries = Vec::new();
        while lines.peek().is_some_and(|line| line.starts_with(' ')) {
            expand(&mut lines, 1, &mut entries);
        }
        assert!(networks.insert(name, entries).is_none(), "{name} twice");
    }
    networks
}

/// The names that the next line stands for, with the lines that are indented further. A part
/// `2..5` of a name stands for four, each with all that is below it.
fn expand(
    lines: &mut std::iter::Peekable<std::str::Lines<'static>>,
    indent: usize,
    entries: &mut Vec<Entry>,
) {
    let line = lines.next().unwrap_or_default();
    let mut words = line.split_whitespace();
    let (part, kind, shape) = (words.next().unwrap(), words.next(), words.next());
    let parts = match part.split_once("..") {
        Some((from, to)) => {
            let [from, to] = [from, to].map(|number| number.parse::<usize>().unwrap());
            (from..=to).map(|number| number.to_string()).collect()
        }
        None => vec![part.to_string()],
    };
    let mut below = Vec::new();
    let extents = |text: &str| text.split('x').map(|n| n.parse().unwrap()).collect();
    match (kind, shape) {
        (None, _) => {
            let deeper = |line: &&str| line.len() - line.trim_start().len() > indent;
            while lines.peek().is_some_and(deeper) {
                expand(lines, indent + 1, &mut below);
            }
        }
        // A parameter of its own.
        (Some(shape), None) => below.push((String::new(), extents(shape))),
        (Some(kind), Some(shape)) => {
            let shape: Vec<usize> = extents(shape);
            let mut add = |name: &str, shape: &[usize]| below.push((name.into(), shape.to_vec()));
            add("weight", &shape);
            match kind {
                "weight" => {}
                "weight+bias" => add("bias", &shape[..1]),
                "norm" => {
                    for name in ["bias", "running_mean", "running_var"] {
                        add(name, &shape);
                    }
                }
                _ => panic!("{line}"),
            }
        }
    }
    for part in parts {
        entries.extend(below.iter().map(|(name, shape)| {
            let dot = if name.is_empty() { "" } else { "." };
            (format!("{part}{dot}{name}"), shape.clone())
        }));
    }
}
