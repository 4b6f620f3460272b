//! Random calls of every public function, with numbers that nobody means: 0, 1, powers of two around
//! an overflow, `usize::MAX`, NaN, infinities, empty slices and slices of other lengths. Each must end in
//! a value: no panic, no endless loop, no memory beyond what the arguments hold.
//!
//! `WGPU_CNN_CALLS` is the number of calls for each seed, `WGPU_CNN_CALLS_SEED` a seed or a range of them
//! (`7`, `0..20`), `WGPU_CNN_CALLS_FROM` the call to begin with: a call is a function of the seed and of its
//! number alone, so one that failed is repeated by these. The calls of a device are part of it where there
//! is an adapter. With `-- --nocapture` it prints what was called, and how often that gave a value.

mod call;
mod checkpoint;
mod cpu;
mod data;
#[path = "../common/device.rs"]
#[allow(dead_code)] // each suite takes a part of it
mod device;
mod distributed;
mod draw;
mod evaluate;
mod gpu;
mod graph;
mod guard;
mod joined;
mod learned;
mod look;
mod model;
mod norm;
mod op;
mod ops;
mod resize;
mod schedule;
mod surface;
mod train;
mod weights;
mod zoo;

use std::panic::{AssertUnwindSafe, catch_unwind};

use call::{Call, SLOW, calls};
use draw::Draw;

/// Calls of each seed, unless the variable says otherwise.
const COUNT: u64 = 3_000;

/// A number from the environment.
fn variable(name: &str, usual: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name}={text}")),
        Err(_) => usual,
    }
}

/// The seeds to run.
fn seeds() -> std::ops::Range<u64> {
    let name = "WGPU_CNN_CALLS_SEED";
    let text = std::env::var(name).unwrap_or("1".into());
    let number = |text: &str| text.parse().unwrap_or_else(|_| panic!("{name}={text}"));
    match text.split_once("..") {
        Some((start, end)) => number(start)..number(end),
        None => number(&text)..number(&text) + 1,
    }
}

/// How often a function was called, and how often it gave a value.
#[derive(Default, Clone)]
struct Count {
    calls: u64,
    values: u64,
}

/// The call of a seed with a number: the first are each call in turn, but for the slow ones.
fn chosen<'a>(calls: &'a [Call], draw: &mut Draw, number: u64) -> (usize, &'a Call) {
    let quick: Vec<usize> = (0..calls.len())
        .filter(|&at| calls[at].weight > SLOW)
        .collect();
    let at = match usize::try_from(number).ok().and_then(|at| quick.get(at)) {
        Some(&at) => at,
        None => {
            let total = calls.iter().map(|call| call.weight).sum();
            let mut left = draw.below(total);
            let past = |call: &Call| match left.checked_sub(call.weight) {
                Some(rest) => {
                    left = rest;
                    false
                }
                None => true,
            };
            calls.iter().position(past).unwrap_or(0)
        }
    };
    (at, &calls[at])
}

#[test]
fn random_calls_end_in_values() {
    let (count, from) = (
        variable("WGPU_CNN_CALLS", COUNT),
        variable("WGPU_CNN_CALLS_FROM", 0),
    );
    let calls = calls(device::plain().is_some());
    let mut counts = vec![Count::default(); calls.len()];
    let watch = guard::Watch::start();
    let mut failures = Vec::new();
    for seed in seeds() {
        println!("seed {seed}: calls {from}..{count}");
        for number in from..count {
            let mut draw = Draw::new(seed, number);
            let (at, call) = chosen(&calls, &mut draw, number);
            watch.begin(seed, number, call.names[0]);
            let run = AssertUnwindSafe(|| (call.run)(&mut draw));
            let outcome = catch_unwind(run);
            watch.end();
            counts[at].calls += 1;
            match outcome {
                Ok(value) => counts[at].values += u64::from(value),
                Err(_) => failures.push(format!("seed {seed}, call {number}: {}", call.names[0])),
            }
        }
    }
    for (call, Count { calls, values }) in calls.iter().zip(&counts) {
        println!(
            "{calls:>7} calls, {values:>7} with a value: {}",
            call.names.join(", ")
        );
    }
    train::clean_up();
    let total: u64 = counts.iter().map(|count| count.calls).sum();
    let values: u64 = counts.iter().map(|count| count.values).sum();
    println!(
        "{total} calls, {values} with a value, {} failed",
        failures.len()
    );
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn every_public_function_is_called() {
    let called: std::collections::BTreeSet<&str> = calls(true)
        .iter()
        .flat_map(|call| call.names.iter().copied())
        .collect();
    let public = surface::public_functions();
    assert!(public.len() > 200, "{} functions found", public.len());
    let missing: Vec<_> = public
        .iter()
        .filter(|(name, _)| !called.contains(&***name))
        .collect();
    assert!(missing.is_empty(), "not called: {missing:#?}");
    let gone: Vec<_> = called
        .iter()
        .filter(|name| !public.contains_key(**name))
        .collect();
    assert!(gone.is_empty(), "called, and not public: {gone:#?}");
}

/// What native programs alone have, and no asynchronous call stands for. By the beginning of the name.
#[rustfmt::skip]
const NATIVE_ALONE: &[(&str, &str)] = &[
    ("Checkpoints::", "keeps files in a folder, which a browser has not"),
    ("Log::open", "a file, where Log::from_csv takes its text"),
    ("Log::save", "a file, where Log::to_csv gives its text"),
    ("LoaderBuilder::ahead", "threads"),
    ("LoaderBuilder::workers", "threads"),
    ("PredictorBuilder::autotune_file", "a file of measurements, which a browser's clock is too coarse for"),
    ("Team::", "threads"),
    ("TrainerBuilder::autotune", "measures, for which a browser's clock is too coarse"),
    ("Trainer::save_with", "Trainer::save_async takes the options too"),
];

#[test]
fn every_blocking_function_has_an_asynchronous_twin() {
    let public = surface::public_functions();
    let blocking = public.iter().filter(|&(_, &native)| native);
    assert!(blocking.clone().count() > 80, "few are found");
    let missing: Vec<_> = blocking
        .filter(|(name, _)| public.get(&format!("{name}_async")) != Some(&false))
        .filter(|(name, _)| !NATIVE_ALONE.iter().any(|(of, _)| name.starts_with(of)))
        .collect();
    assert!(missing.is_empty(), "without a twin: {missing:#?}");
    for (name, reason) in NATIVE_ALONE {
        let found = public
            .iter()
            .any(|(of, native)| *native && of.starts_with(name));
        assert!(found, "{name} ({reason}) is no function of native programs");
    }
}
