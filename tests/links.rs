//! The pages of the repository: links lead somewhere, and the files and commands that are named exist.

use std::fs;
use std::path::{Path, PathBuf};

/// Folders that paths in the text start from.
const ROOTS: [&str; 6] = [
    "",
    "src",
    "src/gpu",
    "src/engine",
    "shaders",
    "shaders/core",
];
/// Folders with pages, beside the root.
const FOLDERS: [&str; 7] = [
    "examples",
    "examples/data/fashion-mnist",
    "src/guide",
    "tests/golden",
    "tests/zoo",
    "web",
    ".github",
];
const REPOSITORY: &str = "https://github.com/wgpu-cnn/wgpu-cnn/blob/main/";
/// Names files of the past too.
const HISTORY: &str = "CHANGELOG.md";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A page in parts: text, code within it, and blocks of code.
struct Page {
    /// From the root of the repository.
    path: PathBuf,
    text: String,
    spans: Vec<String>,
    all: String,
}

impl Page {
    fn new(path: &Path, all: &str) -> Self {
        let mut prose = String::new();
        let mut block = false;
        for line in all.lines() {
            if line.trim_start().starts_with("```") {
                block = !block;
            } else if !block {
                prose.push_str(line);
                prose.push('\n');
            }
        }
        let parts: Vec<&str> = prose.split('`').collect();
        Self {
            path: path.into(),
            text: parts.iter().step_by(2).copied().collect(),
            spans: parts
                .iter()
                .skip(1)
                .step_by(2)
                .map(|s| s.to_string())
                .collect(),
            all: all.into(),
        }
    }

    fn folder(&self) -> &Path {
        self.path.parent().unwrap()
    }

    /// Whether this page is a module of the documentation.
    fn in_documentation(&self) -> bool {
        self.folder() == Path::new("src/guide")
    }

    /// The targets of `[text](target)`.
    fn inline(&self) -> Vec<&str> {
        between(&self.text, "](", ')')
    }

    /// The labels of `[text][label]`.
    fn labels(&self) -> Vec<&str> {
        between(&self.text, "][", ']')
    }

    /// The labels and targets of `[label]: target`.
    fn definitions(&self) -> Vec<(&str, &str)> {
        self.text.lines().filter_map(definition).collect()
    }
}

fn definition(line: &str) -> Option<(&str, &str)> {
    line.strip_prefix('[')?.split_once("]: ")
}

fn between<'a>(text: &'a str, open: &str, close: char) -> Vec<&'a str> {
    let after = text.split(open).skip(1);
    after
        .filter_map(|rest| Some(rest.split_once(close)?.0))
        .collect()
}

/// What is wrong with a page, a line each. `overrides` are the labels that the documentation defines
/// in front of it.
fn problems(page: &Page, overrides: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    let definitions = page.definitions();
    let targets = definitions.iter().map(|&(_, target)| target);
    for target in targets.chain(page.inline()) {
        if !leads_somewhere(page, target) {
            found.push(format!("{target} leads nowhere"));
        }
    }
    let defined = |label: &str| definitions.iter().any(|&(known, _)| known == label);
    for label in page.labels() {
        if !defined(label) {
            found.push(format!("[{label}] is not defined"));
        }
    }
    for &(label, target) in &definitions {
        if !page.labels().contains(&label) {
            found.push(format!("[{label}] is not used"));
        }
        if page.in_documentation() && !remote(target) && !overrides.contains(&label) {
            found.push(format!("[{label}] is not defined in src/guide/mod.rs"));
        }
    }
    if page.in_documentation() {
        let relative = page
            .inline()
            .into_iter()
            .filter(|target| !remote(target) && !target.starts_with('#'));
        found.extend(
            relative.map(|target| format!("{target} needs a label, for the documentation")),
        );
        let unknown = overrides.iter().filter(|label| !defined(label));
        found
            .extend(unknown.map(|label| format!("[{label}] is defined in src/guide/mod.rs alone")));
    }
    if page.path != Path::new(HISTORY) {
        let missing = page
            .spans
            .iter()
            .filter(|span| names_a_file(span) && !file_exists(page, span));
        found.extend(missing.map(|span| format!("{span} does not exist")));
        found.extend(missing_targets(&page.all));
    }
    found
}

fn remote(target: &str) -> bool {
    target.starts_with("https://")
}

/// Whether a link's file exists, and has the heading that is asked for.
fn leads_somewhere(page: &Page, target: &str) -> bool {
    if remote(target) {
        return true;
    }
    let (file, heading) = target.split_once('#').unwrap_or((target, ""));
    let file = match file {
        "" => root().join(&page.path),
        _ => root().join(page.folder()).join(file),
    };
    if heading.is_empty() {
        return file.exists();
    }
    let text = fs::read_to_string(&file).unwrap_or_default();
    let text = if target.starts_with('#') {
        &page.all
    } else {
        &text
    };
    text.lines()
        .filter(|line| line.starts_with('#'))
        .any(|line| slug(line) == heading)
}

/// The anchor of a heading.
fn slug(heading: &str) -> String {
    let words = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = words
        .chars()
        .filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

/// Whether code in the text is the name of a file, or of several by a star.
fn names_a_file(span: &str) -> bool {
    let part_of_a_path = |c: char| c.is_alphanumeric() || "._-/*".contains(c);
    let endings = [".rs", ".wgsl", ".md", ".sh", ".py", ".toml", ".ci/run"];
    span.chars().all(part_of_a_path) && endings.iter().any(|end| span.ends_with(end))
}

fn file_exists(page: &Page, span: &str) -> bool {
    let folders = ROOTS.iter().map(Path::new).chain([page.folder()]);
    folders
        .map(|folder| root().join(folder).join(span))
        .any(|path| {
            let name = path.file_name().unwrap().to_str().unwrap();
            let Some((start, end)) = name.split_once('*') else {
                return path.exists();
            };
            let Ok(entries) = fs::read_dir(path.parent().unwrap()) else {
                return false;
            };
            let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
            names
                .into_iter()
                .any(|name| name.starts_with(start) && name.ends_with(end))
        })
}

/// The examples, benchmarks and tests that commands name and that are not there.
fn missing_targets(text: &str) -> Vec<String> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let named = words.windows(2).filter_map(|pair| {
        let folder = match pair[0].trim_start_matches('`') {
            "--example" => "examples",
            "--bench" => "benches",
            "--test" => "tests",
            _ => return None,
        };
        let name = pair[1].trim_matches(|c: char| !c.is_alphanumeric() && c != '_');
        let [file, main] = [format!("{name}.rs"), format!("{name}/main.rs")];
        let exists = [file, main]
            .iter()
            .any(|file| root().join(folder).join(file).exists());
        (!name.is_empty() && !exists).then(|| format!("{} {name} does not exist", pair[0]))
    });
    named.collect()
}

/// The labels that src/guide/mod.rs defines in front of a page; each of its links into the repository
/// must lead somewhere.
fn overrides(page: &Page) -> Vec<&'static str> {
    if !page.in_documentation() {
        return Vec::new();
    }
    const MODULES: &str = include_str!("../src/guide/mod.rs");
    let include = format!(
        "include_str!(\"{}\")",
        page.path.file_name().unwrap().to_str().unwrap()
    );
    let (before, _) = MODULES
        .split_once(&include)
        .unwrap_or_else(|| panic!("{include} is not in the documentation"));
    let block = before
        .rsplit_once("pub mod")
        .map_or(before, |(_, block)| block);
    let lines = block
        .lines()
        .filter_map(|line| definition(line.strip_prefix("/// ")?));
    let labels = lines.map(|(label, target)| {
        if let Some(file) = target.strip_prefix(REPOSITORY) {
            assert!(root().join(file).exists(), "{target} leads nowhere");
        }
        label
    });
    labels.collect()
}

fn pages() -> Vec<Page> {
    let folders = FOLDERS.iter().map(Path::new).chain([Path::new("")]);
    let files = folders.flat_map(|folder| {
        let entries = fs::read_dir(root().join(folder)).unwrap();
        entries.map(move |entry| folder.join(entry.unwrap().file_name()))
    });
    let pages = files.filter(|path| path.extension().is_some_and(|end| end == "md"));
    pages
        .map(|path| Page::new(&path, &fs::read_to_string(root().join(&path)).unwrap()))
        .collect()
}

#[test]
fn links_lead_somewhere_and_what_is_named_exists() {
    let pages = pages();
    assert!(
        pages.iter().any(|page| page.in_documentation()),
        "no page was found"
    );
    let mut found = Vec::new();
    for page in &pages {
        let of_page = problems(page, &overrides(page));
        found.extend(
            of_page
                .iter()
                .map(|problem| format!("{}: {problem}", page.path.display())),
        );
    }
    assert!(found.is_empty(), "\n{}", found.join("\n"));
}

#[test]
fn each_fault_is_found() {
    let faults = [
        ("[a](none.md)", "none.md leads nowhere"),
        ("[a](#none)", "#none leads nowhere"),
        ("[a](kernels.md#none)", "kernels.md#none leads nowhere"),
        ("[a][b]", "[b] is not defined"),
        ("[b]: kernels.md\n", "[b] is not used"),
        (
            "[a][b]\n\n[b]: kernels.md\n",
            "[b] is not defined in src/guide/mod.rs",
        ),
        (
            "[a](kernels.md)",
            "kernels.md needs a label, for the documentation",
        ),
        ("", "[known] is defined in src/guide/mod.rs alone"),
        ("`gpu/none.rs`", "gpu/none.rs does not exist"),
        ("`conv9d_*.wgsl`", "conv9d_*.wgsl does not exist"),
        ("`cargo bench --bench none`", "--bench none does not exist"),
    ];
    for (text, expected) in faults {
        let page = Page::new(Path::new("src/guide/any.md"), text);
        let found = problems(&page, &["known"]);
        assert!(
            found.iter().any(|problem| problem == expected),
            "{expected}: {found:?}"
        );
    }
    let sound = "# A heading, here\n[a][known] [b](#a-heading-here) `core/rows.wgsl`, `conv2d_*.wgsl`\n\
        `cargo bench --bench step -- x` [c](https://docs.rs)\n\n[known]: kernels.md#one-product\n";
    let page = Page::new(Path::new("src/guide/any.md"), sound);
    assert_eq!(problems(&page, &["known"]), [""; 0]);
}
