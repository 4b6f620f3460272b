//! The public functions of the crate, found in its source: `Type::function` for those of a type,
//! `module::function` for the others. Rustfmt's indentation is taken as given.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Modules that are public, beside the crate's own: what their `mod.rs` re-exports is.
const MODULES: [&str; 8] = [
    "cpu",
    "data",
    "engine",
    "engine/catalogue",
    "op",
    "ops",
    "train/distributed",
    "zoo",
];

/// Public modules that have no functions of their own.
const WITHOUT_FUNCTIONS: [&str; 2] = ["guide", "prelude"];

/// What takes a feature that these tests are built without: `tests/mpi` calls it.
const ELSEWHERE: &str = "train/distributed/mpi.rs";

/// Macros that write public functions, which this file knows.
const MACROS: [&str; 3] = ["networks", "setters", "signal_layer"];

/// Every public function of the crate, and whether it is there with the feature `native` alone.
pub fn public_functions() -> BTreeMap<String, bool> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let exported = exported(&source);
    let mut functions = BTreeMap::new();
    for file in files(&source) {
        if file.ends_with(ELSEWHERE) {
            continue;
        }
        let text = fs::read_to_string(&file).unwrap();
        // A folder of a public module is a part of it.
        let folder = file.strip_prefix(&source).unwrap().parent().unwrap();
        let mut folders = folder.ancestors();
        let public = folders.find(|folder| MODULES.map(Path::new).contains(folder));
        let module = public
            .unwrap_or(folder)
            .file_name()
            .map_or("".into(), |name| name.to_string_lossy());
        let native_file = is_native(&file);
        for Function {
            owner,
            name,
            native,
        } in functions_of(&text)
        {
            // A public name of a module, or of a public type.
            let (known, name) = match owner {
                Some(owner) => {
                    let known = exported.contains(&owner) && !declares_hidden(&text, &owner);
                    (known, format!("{owner}::{name}"))
                }
                // The catalogue has functions of other folders, too.
                None => {
                    let names = [&module, "catalogue"].map(|module| format!("{module}::{name}"));
                    let known = names.iter().find(|name| exported.contains(*name));
                    (known.is_some(), known.cloned().unwrap_or_default())
                }
            };
            if known {
                functions.insert(name, native || native_file);
            }
        }
    }
    functions
}

/// What makes the item after it one of native programs.
const NATIVE: &str = "#[cfg(feature = \"native\")]";

/// Whether a file is a module of native programs alone.
fn is_native(file: &Path) -> bool {
    let stem = file.file_stem().unwrap().to_string_lossy();
    let parent = file.with_file_name("mod.rs");
    let parent = fs::read_to_string(parent).unwrap_or_default();
    parent.contains(&format!("{NATIVE}\nmod {stem};\n"))
}

/// Whether a file has a type of its own by the name of a public one.
fn declares_hidden(text: &str, name: &str) -> bool {
    let kinds = ["struct ", "enum "]
        .map(|kind| ["", "pub(super) ", "pub(crate) "].map(|before| format!("{before}{kind}")));
    let kinds = kinds.as_flattened();
    text.lines().any(|line| {
        let declared = kinds.iter().find_map(|kind| line.strip_prefix(&**kind));
        declared.is_some_and(|rest| word(rest) == name)
    })
}

/// A function with `pub` before it.
#[derive(Debug, PartialEq)]
struct Function {
    /// The type whose it is.
    owner: Option<String>,
    name: String,
    native: bool,
}

/// The functions of a file that are as public as what they belong to.
fn functions_of(text: &str) -> Vec<Function> {
    let (mut functions, mut owner) = (Vec::new(), None::<String>);
    let mut macro_name = None::<String>;
    // What a macro writes, for each of its names.
    let mut written = BTreeMap::<String, Vec<String>>::new();
    let mut invoked = None::<(String, Option<String>)>;
    let mut native = false;
    // The tests end a file.
    let text = text
        .split("\n#[cfg(test)]\nmod tests {")
        .next()
        .unwrap_or(text);
    for line in text.lines() {
        let (code, indent) = (line.trim(), line.len() - line.trim_start().len());
        if code.is_empty() || line == "{" {
            continue;
        }
        if code.starts_with("#[") || code.starts_with("//") {
            native |= code == NATIVE;
            continue;
        }
        let native = std::mem::take(&mut native);
        if indent == 0 {
            let invocation = MACROS
                .iter()
                .find(|name| code.starts_with(&format!("{name}! {{")));
            macro_name = code.strip_prefix("macro_rules! ").map(word);
            invoked = invocation.map(|name| (name.to_string(), None));
            owner = owner_of(code);
            if let Some(name) = public_function(code) {
                functions.push(Function {
                    owner: None,
                    name,
                    native,
                });
            }
            continue;
        }
        if let Some((name, of)) = &mut invoked {
            follow(code, name, of, &written, &mut functions);
            continue;
        }
        let Some(name) = public_function(code).or_else(|| trait_function(&owner, code, indent))
        else {
            continue;
        };
        match (&macro_name, &owner) {
            (Some(by), _) => {
                assert!(
                    MACROS.contains(&&**by),
                    "{by}! writes public functions unknown here"
                );
                written.entry(by.clone()).or_default().push(name);
            }
            (None, Some(owner)) => functions.push(Function {
                owner: Some(owner.trim_start_matches("trait ").into()),
                name,
                native,
            }),
            (None, None) => {}
        }
    }
    functions
}

/// Takes a line of a macro's invocation.
fn follow(
    code: &str,
    by: &str,
    of: &mut Option<String>,
    written: &BTreeMap<String, Vec<String>>,
    functions: &mut Vec<Function>,
) {
    let add = |functions: &mut Vec<Function>, owner: &str, name: &str| {
        functions.push(Function {
            owner: Some(owner.into()),
            name: name.into(),
            native: false,
        });
    };
    match (by, &of) {
        // `Conv1d wraps Conv2d`
        ("signal_layer", _) => {
            if let Some((owner, _)) = code.split_once(" wraps ") {
                written[by]
                    .iter()
                    .for_each(|name| add(functions, owner, name));
            }
        }
        // `alexnet => alexnet::alexnet();`
        ("networks", _) => {
            functions.extend(row(code).map(|name| Function {
                owner: None,
                name,
                native: false,
            }));
        }
        // `Sgd {`, then `momentum: f64,`
        (_, None) => *of = code.strip_suffix(" {").map(String::from),
        (_, Some(owner)) => {
            if let Some((name, _)) = code
                .split_once(": ")
                .filter(|(name, _)| word(name) == *name)
            {
                add(functions, owner, name);
            }
        }
    }
}

/// The name of a row `name => ..` of a macro's invocation.
fn row(code: &str) -> Option<String> {
    let (name, _) = code.split_once(" => ")?;
    (word(name) == name).then(|| name.into())
}

/// The type of an `impl` block of its own, or a public trait.
fn owner_of(code: &str) -> Option<String> {
    if let Some(name) = code.strip_prefix("pub trait ") {
        return Some(format!("trait {}", word(name)));
    }
    let rest = code.strip_prefix("impl")?;
    let rest = match rest.strip_prefix('<') {
        Some(generic) => generic.split_once("> ")?.1,
        None => rest.trim_start(),
    };
    (!rest.contains(" for ")).then(|| word(rest))
}

/// The name of a function that the line makes public.
fn public_function(code: &str) -> Option<String> {
    let rest = code.strip_prefix("pub ")?;
    let rest = ["const ", "async ", "unsafe "]
        .iter()
        .fold(rest, |rest, before| {
            rest.strip_prefix(before).unwrap_or(rest)
        });
    // A macro's own names begin with `$`.
    rest.strip_prefix("fn ")
        .map(|name| word(name.trim_start_matches('$')))
}

/// The name of a public trait's function.
fn trait_function(owner: &Option<String>, code: &str, indent: usize) -> Option<String> {
    let of_trait = owner
        .as_ref()
        .is_some_and(|owner| owner.starts_with("trait "));
    code.strip_prefix("fn ")
        .filter(|_| of_trait && indent == 4)
        .map(word)
}

/// The identifier that a text begins with.
fn word(text: &str) -> String {
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_');
    text[..end.unwrap_or(text.len())].into()
}

/// What is re-exported: types by their names, functions as `module::function`.
fn exported(source: &Path) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    let root = fs::read_to_string(source.join("lib.rs")).unwrap();
    assert_eq!(
        unknown_modules(&root),
        [""; 0],
        "public modules to be added to MODULES"
    );
    names.extend(uses(&root));
    for module in MODULES {
        let short = module.rsplit('/').next().unwrap();
        let own = names_of(&source.join(module), "mod.rs").into_iter();
        names.extend(own.map(|name| match name.starts_with(char::is_uppercase) {
            true => name,
            false => format!("{short}::{name}"),
        }));
    }
    names
}

/// The names that a file of a folder makes public, with those of the files that it re-exports as a whole.
fn names_of(folder: &Path, file: &str) -> Vec<String> {
    let text = fs::read_to_string(folder.join(file)).unwrap();
    let mut names: Vec<String> = uses(&text).collect();
    // What is written there itself.
    let items = text.lines().filter(|line| line.starts_with("pub "));
    names.extend(items.clone().filter_map(public_function));
    let rows = text.split("\nnetworks! {\n").nth(1).unwrap_or("").lines();
    names.extend(rows.filter_map(|line| row(line.trim())));
    names.extend(items.filter_map(|line| {
        let kinds = ["pub struct ", "pub enum ", "pub trait "];
        kinds
            .iter()
            .find_map(|kind| line.strip_prefix(kind))
            .map(word)
    }));
    for module in wholes(&text) {
        let below = folder.join(&module);
        names.extend(match below.is_dir() {
            true => names_of(&below, "mod.rs"),
            false => names_of(folder, &format!("{module}.rs")),
        });
    }
    names
}

/// The modules of which a file re-exports all.
fn wholes(text: &str) -> impl Iterator<Item = String> {
    let lines = text.lines();
    let wholes = lines.filter_map(|line| line.strip_prefix("pub use ")?.strip_suffix("::*;"));
    wholes.map(String::from)
}

/// The public modules of the crate's root that are not looked into.
fn unknown_modules(root: &str) -> Vec<String> {
    let modules = root
        .lines()
        .filter_map(|line| line.strip_prefix("pub mod "));
    let known = |name: &String| MODULES.contains(&&**name) || WITHOUT_FUNCTIONS.contains(&&**name);
    modules.map(word).filter(|name| !known(name)).collect()
}

/// The names in the `pub use` of a file.
fn uses(text: &str) -> impl Iterator<Item = String> {
    let statements = text.split("\npub use ").skip(1);
    let paths = statements.filter_map(|rest| rest.split_once(';'));
    paths.flat_map(|(path, _)| {
        let list = path.split_once('{').map_or_else(
            || path.rsplit("::").next().unwrap_or(path).to_string(),
            |(_, list)| list.trim_end_matches('}').to_string(),
        );
        let names: Vec<String> = list.split(',').map(|name| word(name.trim())).collect();
        names.into_iter().filter(|name| !name.is_empty())
    })
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => found.extend(files(&path)),
            false if path.extension().is_some_and(|ext| ext == "rs") => found.push(path),
            false => {}
        }
    }
    found
}

#[test]
fn functions_are_found_in_source() {
    let text = "
pub fn free<T: Real>(x: &[T]) {}
pub(crate) fn inner() {}
pub trait Real: Float {
    fn nearest() -> Self {}
}
impl<T: Real> Reference<T> {
    pub fn step(&mut self) {}
    fn private() {}
    pub async fn later() {}
}
impl Display for Reference {
    fn fmt() {}
}
macro_rules! signal_layer {
    ($name:ident wraps $inner:ident) => {
        impl $name {
            pub fn stride(self) {}
        }
    };
}
signal_layer! {
    /// A layer.
    Conv1d wraps Conv2d
}
macro_rules! setters {
    ($name:ident) => {
            pub fn $field(mut self) {}
    };
}
setters! {
    Sgd {
        /// Sets it: so.
        momentum: f64,
    }
}
macro_rules! networks {
    ($name:ident => $make:expr) => {
        pub fn $name() {}
    };
}
networks! {
    /// A network: so.
    alexnet => alexnet::alexnet();
}
#[cfg(test)]
mod tests {
    pub fn not_this() {}
}
";
    let found: Vec<String> = functions_of(text)
        .into_iter()
        .map(|Function { owner, name, .. }| format!("{}.{name}", owner.unwrap_or_default()))
        .collect();
    let expected = [
        ".free",
        "Real.nearest",
        "Reference.step",
        "Reference.later",
        "Conv1d.stride",
        "Sgd.momentum",
        ".alexnet",
    ];
    assert_eq!(found, expected);
    let text = "pub struct A;\npub(super) struct Place(u8);\nenum B {\n";
    let hidden = ["A", "Place", "B"].map(|name| declares_hidden(text, name));
    assert_eq!(hidden, [false, true, true]);
    let text = "pub mod cpu;\nmod inner;\npub mod guide;\npub mod other {\n}\n";
    assert_eq!(unknown_modules(text), ["other"]);
    let text = "use a;\npub use b::{C, d};\npub(crate) use e::F;\npub use g::H;\npub use i::*;\n";
    assert_eq!(wholes(text).collect::<Vec<_>>(), ["i"]);
    assert_eq!(uses(text).collect::<Vec<_>>(), ["C", "d", "H"]);
}
