//! The kernels as machine code of real GPUs, held against `benches/isa.json`, where WGPU_CNN_ISA says where
//! the compilers are; and how their listings are read, which needs none.

#[path = "../../benches/isa/mod.rs"]
mod isa;
mod listing;
mod loops;
#[path = "../../benches/common/networks.rs"]
mod networks;
mod table;

use isa::Task;

/// Not a test: what the one below starts once more, for each compiler.
#[test]
fn compiles_if_it_is_asked_to() {
    isa::serve();
}

#[test]
fn no_kernel_has_lost_registers_or_a_ceiling() {
    if std::env::var_os("WGPU_CNN_ISA").is_none() {
        println!("skipped: WGPU_CNN_ISA says where no compiler of a GPU is");
        return;
    }
    let child = ["--exact", "compiles_if_it_is_asked_to"];
    let task = Task::named("--check").unwrap();
    isa::run(task, "", &child).unwrap();
}
