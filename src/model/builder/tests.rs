//! Names, errors and branches of chains.

use super::*;
use crate::op::{Add, Concat};

#[test]
fn names_are_those_of_a_sequential_container() {
    let model = Model::builder([1, 8, 8])
        .conv2d(4, 3)
        .relu()
        .residual(|body| body.push(Conv2d::new(4, 3).padding(1)).relu())
        .flatten()
        .dense(3)
        .build()
        .unwrap();
    let names: Vec<&str> = model.parameters().map(|(name, _)| name).collect();
    let expected = [
        "0.weight",
        "0.bias",
        "2.body.0.weight",
        "2.body.0.bias",
        "4.weight",
        "4.bias",
    ];
    assert_eq!(names, expected);
}

/// The message of a model that cannot be.
fn refused(builder: ModelBuilder) -> String {
    builder.build().unwrap_err().to_string()
}

#[test]
fn a_branch_that_returns_another_builder_is_refused_by_name() {
    let start = || Model::builder([4]).dense(4);
    let said = "layer 1 body: must return the builder that it was given";
    // Another model's, one of the same layers, and an older clone of the very builder.
    assert_eq!(refused(start().residual(|_| Model::builder([9]))), said);
    assert_eq!(refused(start().residual(|_| start().dense(4))), said);
    let older = start();
    let current = older.clone().dense(4);
    let said = "layer 2 body: must return the builder that it was given";
    assert_eq!(refused(current.residual(|_| older.dense(4))), said);
    // The chain around the branch, under whose names two parameters would be called the same.
    let builder = start().dense(4);
    let around = builder.clone();
    assert_eq!(refused(builder.residual(|_| around.dense(4))), said);
    // The other branch's, and that of the block around.
    let mut other = None;
    let body = |body: ModelBuilder| {
        other = Some(body.clone());
        body.dense(4)
    };
    let (body, shortcut) = (body, |_| Model::builder([4]));
    let both = start().residual_with(body, shortcut);
    assert!(refused(both).starts_with("layer 1 shortcut: must return"));
    let other = other.unwrap();
    let said = "layer 1.body.1 body: must return the builder that it was given";
    let nested = |body: ModelBuilder| {
        let outer = body.clone().dense(4);
        body.dense(4).residual(|_| outer)
    };
    assert_eq!(refused(start().residual(nested)), said);
    assert!(refused(start().residual(|_| other)).contains("must return"));
    let kept = start().concat([
        Branch::new(|_| Model::builder([4])),
        Branch::new(|branch| branch),
    ]);
    assert!(refused(kept).starts_with("layer 1 0: must return"));
}

#[test]
fn a_branch_may_go_on_from_a_clone_of_its_builder() {
    let twice = |body: ModelBuilder| {
        let kept = body.dense(4).clone();
        let _ = kept.clone().dense(3);
        kept.relu()
    };
    let model = Model::builder([4]).residual(twice).dense(2).build();
    let model = model.unwrap();
    let names: Vec<&str> = model.parameters().map(|(name, _)| name).collect();
    assert_eq!(
        names,
        ["0.body.0.weight", "0.body.0.bias", "1.weight", "1.bias"]
    );
}

#[test]
fn the_first_error_is_the_one_returned() {
    let first = Model::builder([4]).dense(0);
    let said = refused(first.clone());
    assert!(said.starts_with("layer 0 (linear): linear: "), "{said}");
    let foreign = first.clone().residual(|_| Model::builder([4]));
    assert_eq!(refused(foreign), said);
    assert_eq!(refused(first.residual(|body| body.dense(3))), said);
    let within = Model::builder([4]).residual(|body| body.dense(0).conv2d(1, 9));
    assert!(refused(within).starts_with("layer 0.body.0 (linear)"));
}

#[test]
fn operators_that_join_are_refused_in_a_chain() {
    let said = "layer 0 (add): expected two values, got 1";
    assert_eq!(refused(Model::builder([4]).push(Add)), said);
    assert_eq!(refused(Model::builder([4]).push(Op::Add(Add))), said);
    let one = Model::builder([4, 2]).push(Concat).build().unwrap();
    assert_eq!(one.output_shape().to_string(), "[4, 2]");
}

/// A chain that copies itself in every block makes 2,000^2 / 2 nodes anew, which shows in seconds; here
/// it is the number of blocks that is tried, not the time.
#[test]
fn thousands_of_residual_blocks_are_one_chain() {
    let mut builder = Model::builder([4]);
    for _ in 0..2_000 {
        builder = builder.residual(|body| body.dense(4).relu());
    }
    let model = builder.build().unwrap();
    assert_eq!(model.graph.nodes().len(), 6_000);
    assert_eq!(model.parameters().last().unwrap().0, "1999.body.0.bias");
}

#[test]
fn shape_errors_name_the_layer() {
    let error = Model::builder([1, 8, 8])
        .conv2d(4, 3)
        .relu()
        .conv2d(4, 9)
        .dense(3)
        .build();
    let error = error.unwrap_err();
    assert!(matches!(&error, Error::Shape { layer, .. } if layer == "layer 2 (conv2d)"));
    assert!(error.to_string().contains("at least 9x9"), "{error}");
    let error = Model::builder([3, 8, 8])
        .residual(|body| body.conv2d(3, 3))
        .build();
    let error = error.unwrap_err().to_string();
    assert_eq!(
        error,
        "layer 0 (add): expected two values of [3, 6, 6], or one with a number for each channel or \
         for each position, got [3, 8, 8]"
    );
    for input in [vec![], vec![0, 8, 8], vec![8]] {
        assert!(Model::builder(input).conv2d(4, 3).build().is_err());
    }
}
