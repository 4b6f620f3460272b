//! States that several ranks keep and go on from: all of them those of the same moment, whenever one fails.

use std::sync::{Arc, Mutex};

use wgpu_cnn::distributed::{Member, Reducer, Subnormals, Team};
use wgpu_cnn::{Error, Gpu, Result, Trainer};

use super::{assert_names, everything, tensors};
use crate::checkpoint::setup::{Feature, Setup};
use crate::common::plain_gpu;
use crate::device::device;

const RANKS: usize = 2;
const ROUNDS: usize = 5;

fn new() -> Gpu {
    device(Gpu::builder()).unwrap()
}

fn step(setup: &Setup, trainer: &mut Trainer, round: usize) -> Result<()> {
    let (x, targets) = setup.batch(round * RANKS + trainer.rank());
    trainer.step(&x, targets)
}

/// What all ranks come to where nothing fails.
fn undisturbed(setup: &Setup, gpu: &Gpu) -> Vec<u8> {
    let all = Team::new(RANKS).unwrap().run(|member, _| {
        let mut trainer = setup.builder().distributed(member).on(gpu)?;
        (0..ROUNDS).try_for_each(|round| step(setup, &mut trainer, round))?;
        trainer.checkpoint_bytes()
    });
    tensors(&all.unwrap()[0]).to_vec()
}

/// Loses a device at the end of an exchange.
struct Loses {
    member: Member,
    what: What,
    /// Of these exchanges, which one; counted down.
    left: usize,
    gpu: Arc<Mutex<Option<Gpu>>>,
}

#[derive(Clone, Copy, PartialEq)]
enum What {
    Sum,
    Gather,
}

impl Loses {
    fn has(&mut self, what: What) {
        if what == self.what {
            self.left = self.left.wrapping_sub(1);
            let lost = (self.left == 0).then(|| self.gpu.lock().unwrap().take());
            if let Some(gpu) = lost.flatten() {
                gpu.device().destroy();
            }
        }
    }
}

impl Reducer for Loses {
    fn rank(&self) -> usize {
        self.member.rank()
    }

    fn size(&self) -> usize {
        self.member.size()
    }

    fn sum(&mut self, values: &mut [f32], subnormals: Subnormals) -> Result<()> {
        let done = self.member.sum(values, subnormals);
        self.has(What::Sum);
        done
    }

    fn broadcast(&mut self, bytes: &mut [u8], root: usize) -> Result<()> {
        self.member.broadcast(bytes, root)
    }

    fn barrier(&mut self) -> Result<()> {
        self.member.barrier()
    }

    fn gather(&mut self, bytes: &[u8]) -> Result<Vec<Vec<u8>>> {
        let all = self.member.gather(bytes);
        self.has(What::Gather);
        all
    }
}

/// Steps until all rounds are made, and recovers wherever anything fails.
fn train_on(setup: &Setup, trainer: &mut Trainer, mut gpu: Gpu) -> Result<(Vec<u8>, usize)> {
    let (mut round, mut recovered) = (0, 0);
    loop {
        let done = match round {
            ROUNDS => trainer.wait_for_ranks(),
            _ => step(setup, trainer, round),
        };
        match done {
            Ok(()) if round == ROUNDS => return Ok((trainer.checkpoint_bytes()?, recovered)),
            Ok(()) => round += 1,
            Err(error) => {
                if matches!(error, Error::DeviceLost { .. }) {
                    gpu = new();
                }
                round = loop {
                    match trainer.recover(&gpu) {
                        Ok(batches) => break batches as usize / RANKS,
                        Err(Error::Rank { .. }) if recovered < 4 => recovered += 1,
                        Err(error) => return Err(error),
                    }
                };
                recovered += 1;
            }
        }
    }
}

/// Once all have told what they have computed, a rank that fails does so alone, and the others are a step ahead.
/// Before that they are told: in the midst of a step, or as a state is kept.
#[test]
fn a_device_that_is_lost_in_any_exchange_takes_all_ranks_back_to_one_moment() {
    let Some(plain) = plain_gpu() else { return };
    let setup = everything();
    let expected = undisturbed(&setup, plain);
    // A trainer is made with four gatherings, a step has two, and one before which a state is kept has three.
    let sums = (1..=ROUNDS).map(|sum| (What::Sum, sum));
    let gatherings = [6, 7, 8, 9].map(|gathering| (What::Gather, gathering));
    for (what, left) in sums.step_by(2).chain(gatherings) {
        let all = Team::new(RANKS).unwrap().run(|member, own| {
            let gpu = if own == 1 { new() } else { plain.clone() };
            let lost = (own == 1).then(|| gpu.clone());
            let loses = Loses {
                member,
                what,
                left,
                gpu: Arc::new(Mutex::new(lost)),
            };
            let builder = setup.builder().checkpoint_every(2).distributed(loses);
            let mut trainer = builder.on(&gpu)?;
            train_on(&setup, &mut trainer, gpu)
        });
        let all = all.unwrap();
        for (bytes, recovered) in all {
            assert!(recovered > 0, "nothing was lost");
            assert!(tensors(&bytes) == expected, "other bits");
        }
    }
}

/// A forward pass that counts on no other rank is there on none to go back from.
#[test]
fn a_forward_pass_that_another_rank_has_failed_in_is_forgotten() {
    let Some(plain) = plain_gpu() else { return };
    let setup = Setup::of(&[Feature::OwnLoss, Feature::BatchNorm]);
    let all = Team::new(RANKS).unwrap().run(|member, own| {
        let gpu = if own == 1 { new() } else { plain.clone() };
        let lost = (own == 1).then(|| gpu.clone());
        let loses = Loses {
            member,
            what: What::Gather,
            left: 5,
            gpu: Arc::new(Mutex::new(lost)),
        };
        let mut trainer = setup.builder().distributed(loses).on(&gpu)?;
        let x = setup.batch(own).0;
        let failed = trainer.forward(&x).map(drop);
        match own {
            0 => assert_names(failed, 1, "lost"),
            _ => assert!(
                matches!(failed, Err(Error::DeviceLost { .. })),
                "{failed:?}"
            ),
        }
        let refused = trainer.backward([&vec![1.0; 4 * x.len()]]).unwrap_err();
        assert!(refused.to_string().contains("forward"), "{refused}");
        Ok(())
    });
    all.unwrap();
}

/// A file that cannot be written is kept by nobody: all go on from the state before it.
#[test]
fn after_a_file_that_cannot_be_written_all_recover_from_the_beginning() {
    let Some(plain) = plain_gpu() else { return };
    let setup = everything();
    let all = Team::new(RANKS).unwrap().run(|member, own| {
        let builder = setup
            .builder()
            .checkpoint_every_to(2, "/no such folder/state");
        let mut trainer = builder.distributed(member).on(plain)?;
        step(&setup, &mut trainer, 0)?;
        match (own, step(&setup, &mut trainer, 1)) {
            (0, refused) => assert!(matches!(refused, Err(Error::File { .. })), "{refused:?}"),
            (_, refused) => assert_names(refused, 0, "no such folder"),
        }
        assert_eq!(trainer.recover(plain)?, 0);
        trainer.check_ranks()
    });
    all.unwrap();
}

/// A rank that has no batch when a state is due keeps it like the others.
#[test]
fn a_rank_without_a_batch_keeps_a_state_too() {
    let Some(plain) = plain_gpu() else { return };
    let setup = Setup::of(&[Feature::OwnLoss, Feature::BatchNorm]);
    let round = |trainer: &mut Trainer, round: usize| {
        let x = match trainer.rank() == 1 && round == 1 {
            true => vec![],
            false => setup.batch(round).0,
        };
        let outputs = trainer.forward(&x)?;
        let gradient = Setup::own_gradient(&outputs);
        trainer.backward([&gradient])?;
        trainer.update()
    };
    let all = Team::new(RANKS).unwrap().run(|member, _| {
        let builder = setup.builder().checkpoint_every(2).distributed(member);
        let mut trainer = builder.on(plain)?;
        (0..2).try_for_each(|at| round(&mut trainer, at))?;
        assert_eq!(trainer.recover(plain)?, 2);
        trainer.check_ranks()
    });
    all.unwrap();
}

/// The bytes of a state are handed to the program of rank 0 alone, once all ranks have theirs.
#[test]
fn states_are_handed_to_rank_0() {
    let setup = everything();
    let all = Team::new(RANKS).unwrap().run(|member, _| {
        let handed = Arc::new(Mutex::new(0));
        let count = handed.clone();
        let builder = setup.builder();
        let builder = builder.checkpoint_every_with(2, move |_| *count.lock().unwrap() += 1);
        let mut trainer = builder.distributed(member).on_cpu()?;
        (0..3).try_for_each(|round| step(&setup, &mut trainer, round))?;
        Ok(*handed.lock().unwrap())
    });
    assert_eq!(all.unwrap(), [2, 0]);
}
