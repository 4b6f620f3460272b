//! What must be tested is declared, and a machine that lacks it fails instead of passing in silence.

use crate::common::child;
use crate::device::{Capability, REQUIRE, REQUIRE_GPU, plain};

/// Whether tests run in a process with these variables, and what it says.
fn run(environment: &[(&str, &str)]) -> (bool, String) {
    let nothing = [(REQUIRE, ""), (REQUIRE_GPU, "")];
    let environment = [&nothing, environment].concat();
    let output = child("required::what_is_required_is_there", &environment);
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    assert!(said.contains("running 1 test"), "{said}");
    (output.status.success(), said)
}

fn passes(environment: &[(&str, &str)], line: &str) {
    let (passed, said) = run(environment);
    let mut lines = said.lines();
    assert!(passed && lines.any(|said| said.contains(line)), "{said}");
}

fn fails(environment: &[(&str, &str)], reason: &str) {
    let (passed, said) = run(environment);
    assert!(!passed && said.contains(reason), "{said}");
}

#[test]
fn what_is_required_is_there() {
    plain();
}

#[test]
fn a_missing_adapter_is_a_failure_where_a_gpu_is_required_and_a_line_elsewhere() {
    let absent = ("WGPU_CNN_ADAPTER", "an adapter that does not exist");
    passes(&[absent], "skipped: no graphics adapter");
    passes(
        &[absent, (REQUIRE_GPU, "0")],
        "skipped: no graphics adapter",
    );
    fails(
        &[absent, (REQUIRE_GPU, "1")],
        "but gpu is missing: no graphics adapter",
    );
    fails(
        &[absent, (REQUIRE, "gpu")],
        "but gpu is missing: no graphics adapter",
    );
    fails(&[absent, (REQUIRE, "f16")], "but f16 is missing");
}

#[test]
fn missing_subgroups_of_8_are_a_failure_where_they_are_required_and_a_line_elsewhere() {
    let lavapipe = |gpu: &&wgpu_cnn::Gpu| gpu.info().driver == "llvmpipe";
    let Some(gpu) = plain().filter(lavapipe) else {
        eprintln!("skipped: only lavapipe can be told to take other subgroups");
        return;
    };
    let narrow = ("LP_NATIVE_VECTOR_WIDTH", "128");
    let missing = "but subgroups8 is missing: ";
    fails(&[narrow, (REQUIRE, "gpu,subgroups8")], missing);
    fails(
        &[narrow, (REQUIRE_GPU, "1"), (REQUIRE, "subgroups8")],
        missing,
    );
    passes(&[narrow, (REQUIRE, "gpu")], "skipped: subgroups8");
    if Capability::Subgroups8.is_on(gpu) {
        passes(&[(REQUIRE, "gpu,subgroups8")], "required: gpu,subgroups8");
    }
}

#[test]
fn an_unknown_word_is_a_failure() {
    fails(&[(REQUIRE, "gpu,subgroup8")], "unknown word \"subgroup8\"");
}
