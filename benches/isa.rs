//! What the compilers of real GPUs make of the kernels, on a machine that has none: registers, how many
//! subgroups have room at once, and what share of the hot loops multiply-adds are.
//! `cargo bench --bench isa`; the guide's page `isa` says how to read it.
//!
//! ```text
//! cargo bench --bench isa -- forward    the kernels with this in their names
//! cargo bench --bench isa -- --check    held against benches/isa.json
//! cargo bench --bench isa -- --write    written there
//! ```
//!
//! `benches/isa/setup.sh FOLDER amd nvidia intel` puts the compilers into a folder, and WGPU_CNN_ISA says which
//! that is. Without it the system's own RADV is taken, if it is new enough.

#[path = "isa/mod.rs"]
mod isa;
#[path = "common/networks.rs"]
mod networks;

use isa::Task;

fn main() {
    // As the child that compiles.
    if isa::serve() {
        return;
    }
    let (mut task, mut filter) = (Task::Print, String::new());
    for argument in std::env::args().skip(1) {
        match Task::named(&argument) {
            Some(named) => task = named,
            // What cargo adds, and what criterion's benchmarks take for a short run.
            None if argument == "--bench" || argument == "--test" => {}
            None => filter = argument,
        }
    }
    if task != Task::Print && !filter.is_empty() {
        eprintln!("error: only whole tables are kept; leave {filter} out");
        std::process::exit(2);
    }
    if let Err(error) = isa::run(task, &filter, &[]) {
        eprintln!("error: {error}");
        std::process::exit(1);
    }
}
