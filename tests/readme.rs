//! The README's tables, held against the code.

use std::collections::BTreeSet;

use wgpu_cnn::engine::catalogue::cases;

const README: &str = include_str!("../README.md");

/// The names of every operator that has a case in the catalogue.
fn operators() -> BTreeSet<&'static str> {
    cases().iter().map(|case| case.op.name()).collect()
}

/// The cells of the rows of the table whose first column is called `first`.
fn table(first: &str) -> Vec<Vec<&'static str>> {
    let mut lines = README
        .lines()
        .skip_while(|line| !line.starts_with(&format!("| {first} |")));
    let header = lines.next().expect("the table is there");
    let columns = header.matches('|').count() - 1;
    let rows = lines.skip(1).take_while(|line| line.starts_with('|'));
    rows.map(|row| {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        assert_eq!(cells.len(), columns, "{row}");
        cells
    })
    .collect()
}

/// The names in backticks of a table's first column.
fn names(first: &str) -> Vec<&'static str> {
    names_of(first, 0)
}

/// The names in backticks of a column.
fn names_of(first: &str, column: usize) -> Vec<&'static str> {
    let rows = table(first);
    assert!(!rows.is_empty());
    rows.iter()
        .flat_map(|cells| cells[column].split('`').skip(1).step_by(2))
        .collect()
}

#[test]
fn the_operator_table_is_complete() {
    let names = names("operator");
    for operator in operators() {
        assert!(names.contains(&operator), "{operator} has no row");
    }
    // Signals go through the operators of images.
    let of_signals = ["conv1d", "max_pool1d", "avg_pool1d"];
    for name in names {
        let known = operators().contains(name) || of_signals.contains(&name);
        assert!(known, "{name} is no operator");
    }
}

#[test]
fn every_row_says_where_it_exists_and_what_holds_it() {
    for cells in table("operator") {
        assert_eq!(cells[2..4], ["yes", "yes"], "{cells:?}");
        assert!(
            !cells[4].is_empty() && cells[5].contains("differences"),
            "{cells:?}"
        );
    }
}

#[test]
fn the_tables_of_losses_and_optimizers_name_what_there_is() {
    assert_eq!(
        names("loss"),
        [
            "cross_entropy",
            "nll",
            "dice",
            "mean_squared_error",
            "l1",
            "smooth_l1",
            "huber",
            "binary_cross_entropy",
            "kl_divergence"
        ]
    );
    assert_eq!(
        names("optimizer"),
        [
            "sgd", "adam", "adamw", "rmsprop", "adagrad", "adadelta", "nadam", "lion"
        ]
    );
}

#[test]
fn the_table_of_networks_names_the_zoo() {
    let mut named = names_of("network", 1);
    let mut all = wgpu_cnn::zoo::NAMES;
    named.sort_unstable();
    all.sort_unstable();
    assert_eq!(named, all);
}

#[test]
fn the_table_of_examples_names_each() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/examples");
    let table = include_str!("../examples/README.md");
    let files = std::fs::read_dir(folder).unwrap();
    let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
    let mut programs = names.filter(|name| name.ends_with(".rs")).peekable();
    assert!(programs.peek().is_some());
    for file in programs {
        let name = file.trim_end_matches(".rs");
        let row = format!("\n| [`{name}`]({file}) | ");
        assert!(table.contains(&row), "{name} has no row");
    }
}
