//! What the compilers of real GPUs make of the kernels, on a machine that has none.

mod cases;
pub mod compilers;
pub mod listing;
pub mod loops;
pub mod reading;
mod spirv;
pub mod table;
mod vulkan;

use std::path::Path;

use cases::Case;
pub use compilers::serve;
use compilers::{Compiler, FOLDER, Request};
use reading::Reading;
use table::{Kept, Table};

/// What to do with the tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Task {
    Print,
    /// Hold them against those that are kept.
    Check,
    /// Keep them.
    Write,
}

impl Task {
    /// What an argument asks for.
    pub fn named(argument: &str) -> Option<Self> {
        match argument {
            "--check" => Some(Self::Check),
            "--write" => Some(Self::Write),
            _ => None,
        }
    }
}

/// The tables that are kept.
const KEPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/isa.json");

/// Compiles the pipelines whose names have `filter` in them on every compiler that is here. `child` are the
/// arguments with which this program comes to [`serve`].
pub fn run(task: Task, filter: &str, child: &[&str]) -> Result<(), String> {
    let compilers = compilers::found();
    let mut tables = Vec::new();
    for compiler in &compilers {
        let title = compiler.target.title;
        match table(compiler, filter, child) {
            Ok(table) => {
                if task == Task::Print {
                    table.print(title);
                }
                tables.push(table);
            }
            // One that was not asked for.
            Err(error) if compiler.is_of_the_system() => println!("{title}: skipped: {error}"),
            Err(error) => return Err(format!("{title}: {error}")),
        }
    }
    if tables.is_empty() && std::env::var_os(FOLDER).is_some() {
        return Err(format!("{FOLDER} has no compiler of a GPU"));
    }
    if tables.is_empty() {
        println!("skipped: no compiler of a GPU is here. To get one, and to tell where it is:");
        println!("    benches/isa/setup.sh FOLDER amd");
        println!("    export {FOLDER}=FOLDER");
        return Ok(());
    }
    let mut kept = Kept::read(Path::new(KEPT))?;
    match task {
        Task::Print => Ok(()),
        Task::Check => check(&kept, &tables),
        Task::Write => {
            kept.replace(&tables);
            kept.write(Path::new(KEPT))
                .map_err(|error| format!("{KEPT}: {error}"))
        }
    }
}

fn table(compiler: &Compiler, filter: &str, child: &[&str]) -> Result<Table, String> {
    let mut cases = cases::all(compiler.target.vendor)?;
    cases.retain(|case| case.name.contains(filter));
    let requests: Result<Vec<_>, String> = cases.iter().map(request).collect();
    let report = compiler.compile(&requests?, child)?;
    let rows = cases.iter().zip(report.compiled).map(|(case, compiled)| {
        let vendor = compiler.target.vendor;
        let read = |compiled| Reading::of(vendor, &compiled, case.nest.as_ref());
        (case.name.clone(), compiled.map(read))
    });
    Ok(Table {
        name: compiler.target.name.into(),
        driver: report.driver,
        rows: rows.collect(),
    })
}

fn request(case: &Case) -> Result<Request, String> {
    let words = spirv::words(&case.pipeline).map_err(|e| format!("{}: {e}", case.name))?;
    Ok(Request {
        words,
        storage: case.pipeline.storage.clone(),
        uniform: case.pipeline.uniform,
    })
}

fn check(kept: &Kept, tables: &[Table]) -> Result<(), String> {
    let mut all = Vec::new();
    for table in tables {
        match kept.differences(table) {
            Ok(differences) => all.extend(differences),
            Err(reason) => println!("skipped: {reason}"),
        }
    }
    if all.is_empty() {
        return Ok(());
    }
    let advice = "`cargo bench --bench isa -- --write` keeps what is there now";
    Err(format!("{}\n{advice}", all.join("\n")))
}
