//! Training that is interrupted and goes on.

use pollster::block_on;
use wgpu_cnn::{Checkpoints, Error, Trainer};

use crate::call::Call;
use crate::draw::Draw;
use crate::ops::gpu;
use crate::train::{path, used, usual};

const STATE: &[&str] = &[
    "TrainerBuilder::resume",
    "TrainerBuilder::resume_bytes",
    "TrainerBuilder::checkpoint_every",
    "TrainerBuilder::checkpoint_every_to",
    "TrainerBuilder::checkpoint_every_with",
    "Trainer::checkpoint",
    "Trainer::checkpoint_async",
    "Trainer::checkpoint_bytes",
    "Trainer::checkpoint_bytes_async",
    "Trainer::batches",
    "Trainer::set_note",
    "Trainer::note",
    "Trainer::notes",
    "Trainer::set_data_place",
    "Trainer::data_place",
];

const FOLDER: &[&str] = &[
    "Checkpoints::new",
    "Checkpoints::keep",
    "Checkpoints::keep_lowest",
    "Checkpoints::keep_highest",
    "Checkpoints::save",
    "Checkpoints::latest",
    "Checkpoints::best",
];

const RECOVER: &[&str] = &["Trainer::recover", "Trainer::recover_async"];

pub fn calls() -> Vec<Call> {
    vec![
        Call::medium(STATE, |d| resumed(d).is_ok()),
        Call::medium(FOLDER, |d| folder(d).is_ok()),
    ]
}

pub fn calls_on_device() -> Vec<Call> {
    vec![Call::on_device(RECOVER, |d| recovered(d).is_ok())]
}

/// Bytes of a checkpoint, or of what was one.
fn bytes(d: &mut Draw, trainer: &Trainer) -> Result<Vec<u8>, Error> {
    let mut bytes = match d.flag() {
        true => trainer.checkpoint_bytes()?,
        false => block_on(trainer.checkpoint_bytes_async())?,
    };
    while d.is_hostile() {
        let at = d.below(bytes.len() + 1);
        match d.flag() {
            true => bytes.truncate(at),
            false => bytes
                .iter_mut()
                .skip(at)
                .take(1)
                .for_each(|byte| *byte ^= 1 << d.below(8)),
        }
    }
    Ok(bytes)
}

fn resumed(d: &mut Draw) -> Result<(), Error> {
    let mut builder = usual(d);
    let again = builder.clone();
    let every = d.number() as u64;
    if d.is_hostile() {
        builder = builder.checkpoint_every(every);
    }
    if d.is_hostile() {
        builder = builder.checkpoint_every_to(every, path(d));
    }
    if d.is_hostile() {
        builder = builder.checkpoint_every_with(every, |bytes| assert!(!bytes.is_empty()));
    }
    let mut trainer = builder.on_cpu()?;
    used(d, &mut trainer)?;
    let name = d.pick(&["", "epoch", "\0", "__metadata__", "\"\u{1f980}"]);
    trainer.set_note(name, "\u{0}{}\"");
    trainer.set_data_place(vec![d.below(256) as u8; d.below(9)]);
    if d.is_hostile() {
        match d.flag() {
            true => trainer.checkpoint(path(d))?,
            false => block_on(trainer.checkpoint_async(path(d)))?,
        }
    }
    let mut resumed = match d.is_hostile() {
        true => again.resume(path(d)).on_cpu()?,
        false => again.resume_bytes(bytes(d, &trainer)?).on_cpu()?,
    };
    let _ = (resumed.note(name), resumed.notes().count());
    let _ = (resumed.data_place().len(), resumed.batches());
    used(d, &mut resumed)
}

fn folder(d: &mut Draw) -> Result<(), Error> {
    let at = path(d).join("kept");
    let mut folder = Checkpoints::new(&at).keep(d.number());
    if d.flag() {
        folder = folder.keep_lowest();
    }
    if d.flag() {
        folder = folder.keep_highest();
    }
    let trainer = usual(d).on_cpu()?;
    let saved = (0..1 + d.below(3)).try_for_each(|_| {
        let saved = folder.save(&trainer, d.flag().then_some(d.real()))?;
        assert_eq!(folder.latest()?, Some(saved));
        folder.best().map(drop)
    });
    let _ = std::fs::remove_dir_all(at);
    saved
}

fn recovered(d: &mut Draw) -> Result<(), Error> {
    let builder = usual(d).checkpoint_every(d.number() as u64);
    let mut trainer = match d.is_hostile() {
        true => usual(d).on(gpu())?,
        false => builder.on(gpu())?,
    };
    let _ = used(d, &mut trainer);
    match d.flag() {
        true => trainer.recover(gpu())?,
        false => block_on(trainer.recover_async(gpu()))?,
    };
    Ok(())
}
