//! Weights from elsewhere: files that are damaged, and names that are mapped to anything.

use pollster::block_on;
use wgpu_cnn::{Error, SaveOptions, Weights};

use crate::call::Call;
use crate::draw::Draw;
use crate::train::{model, path, usual};

const WEIGHTS: &[&str] = &[
    "Weights::bytes",
    "Weights::and_bytes",
    "Weights::strip_prefix",
    "Weights::add_prefix",
    "Weights::rename",
    "Weights::rename_each",
    "Weights::skip",
    "Weights::partial",
    "Weights::check",
    "SaveOptions::new",
    "SaveOptions::add_prefix",
    "SaveOptions::strip_prefix",
    "SaveOptions::rename",
    "SaveOptions::rename_each",
    "SaveOptions::rename_back",
    "SaveOptions::skip",
    "SaveOptions::f16",
    "SaveOptions::bf16",
    "SaveOptions::metadata",
    "Trainer::weights_bytes",
    "Trainer::weights_bytes_async",
    "Trainer::load",
    "Trainer::load_async",
];

const FILES: &[&str] = &[
    "Weights::file",
    "Weights::and_file",
    "Trainer::save_with",
    "Trainer::save_async",
];

pub fn calls() -> Vec<Call> {
    vec![
        Call::medium(WEIGHTS, |d| of_bytes(d).is_ok()),
        Call::medium(FILES, |d| of_files(d).is_ok()),
    ]
}

/// A part of a name.
fn part(d: &mut Draw) -> &'static str {
    d.pick(&[
        "0.",
        "module.",
        "",
        "0.weight",
        "\0",
        "__metadata__",
        "*",
        "é",
    ])
}

fn saving(d: &mut Draw) -> SaveOptions {
    let mut options = SaveOptions::new();
    while d.is_hostile() {
        let (one, two) = (part(d), part(d));
        options = match d.below(8) {
            0 => options.add_prefix(one),
            1 => options.strip_prefix(one),
            2 => options.rename(move |name| name.replace(one, two)),
            3 => options.rename_each([(one, two)]),
            4 => options.skip(one),
            5 => options.f16(),
            6 => options.bf16(),
            _ => options.metadata(one, two),
        };
    }
    options
}

fn loading(d: &mut Draw, mut weights: Weights) -> Weights {
    while d.is_hostile() {
        let (one, two) = (part(d), part(d));
        weights = match d.below(6) {
            0 => weights.add_prefix(one),
            1 => weights.strip_prefix(one),
            2 => weights.rename(move |name| name.replace(one, two)),
            3 => weights.rename_each([(one, two)]),
            4 => weights.skip(one),
            _ => weights.partial(d.flag()),
        };
    }
    weights
}

/// Bytes that are cut short, longer, or others, the length of the header among them.
fn damaged(d: &mut Draw, mut bytes: Vec<u8>) -> Vec<u8> {
    while d.is_hostile() && !bytes.is_empty() {
        let at = d.below(bytes.len().min(400));
        match d.below(4) {
            0 => bytes.truncate(at),
            1 => bytes.push(b' '),
            2 => bytes[at] = d.pick(b"\0\xff{}[]\":,0-e9"),
            _ => bytes[at] ^= 1 << d.below(8),
        }
    }
    bytes
}

fn of_bytes(d: &mut Draw) -> Result<(), Error> {
    let trainer = usual(d).on_cpu()?;
    let options = saving(d);
    let bytes = match d.flag() {
        true => trainer.weights_bytes(&options)?,
        false => block_on(trainer.weights_bytes_async(&options))?,
    };
    let mut weights = Weights::bytes(damaged(d, bytes.clone()));
    if d.is_hostile() {
        weights = weights.and_bytes(damaged(d, bytes));
    }
    let weights = loading(d, weights);
    let other = model(d);
    let _ = weights.check(&other).map(|report| report.to_string());
    let mut trainer = usual(d).on_cpu()?;
    let report = match d.flag() {
        true => trainer.load(weights)?,
        false => block_on(trainer.load_async(weights))?,
    };
    let back = SaveOptions::new().rename_back(&report);
    trainer.weights_bytes(&back).map(drop)
}

fn of_files(d: &mut Draw) -> Result<(), Error> {
    let trainer = usual(d).on_cpu()?;
    let (options, to) = (saving(d), path(d));
    match d.flag() {
        true => trainer.save_with(to, &options)?,
        false => block_on(trainer.save_async(to, &options))?,
    }
    let mut weights = Weights::file(path(d));
    if d.is_hostile() {
        weights = weights.and_file(path(d));
    }
    let weights = loading(d, weights);
    let mut trainer = usual(d).weights(weights.clone()).on_cpu()?;
    trainer.load(weights).map(drop)
}
