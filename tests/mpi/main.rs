//! Ranks as processes of MPI, on this machine: the program runs itself under `mpirun`, and looks at what becomes
//! of it. [`tests/mpi.sh`](../mpi.sh) installs what it needs.
//!
//! ```sh
//! cargo test --features mpi --test mpi                 # all of it, 12 kills among it
//! WGPU_CNN_MPI_KILLS=200 WGPU_CNN_MPI_SEED=5 cargo test --features mpi --test mpi -- kills
//! ```

mod faults;
mod program;
mod ranks;
mod reduce;

use std::time::Instant;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    // Under `mpirun`: one rank.
    if let ["rank", what, rest @ ..] = &arguments[..] {
        match *what {
            "reduce" => reduce::all(),
            "train" => ranks::same_bits_as_one_process(rest),
            "disagree" => ranks::disagree(),
            "end" => faults::end(rest),
            "checkpoint" => faults::train(rest),
            what => panic!("a rank does not know {what:?}"),
        }
        return;
    }
    // Filters, as other suites have them. Options of the test harness mean nothing here.
    let option = arguments.iter().find(|word| word.starts_with('-'));
    assert_eq!(option, None, "options are not known here");
    let filters = arguments;
    let tests: [(&str, fn()); 6] = [
        ("reduce", program::reduce),
        ("train_on_cpu", program::train_on_cpu),
        ("train_on_gpu", program::train_on_gpu),
        ("disagree", program::disagree),
        ("end", program::end),
        ("kills", faults::kills),
    ];
    let asked = |name: &str| filters.is_empty() || filters.iter().any(|word| name.contains(word));
    let asked: Vec<_> = tests.into_iter().filter(|(name, _)| asked(name)).collect();
    assert!(!asked.is_empty(), "no test is named as {filters:?} say");
    for (name, test) in asked {
        let begin = Instant::now();
        test();
        println!(
            "test mpi::{name} ... ok, {:.1} s",
            begin.elapsed().as_secs_f32()
        );
    }
}
