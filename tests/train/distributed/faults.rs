//! What becomes of the others where a rank fails.

use std::time::{Duration, Instant};

use wgpu_cnn::distributed::Team;
use wgpu_cnn::{Error, Gpu, Result, Trainer};

use super::{Place, assert_names, everything, places, rank, tensors};
use crate::checkpoint::setup::Setup;
use crate::common::plain_gpu;
use crate::device::device;

const RANKS: usize = 3;
const ROUNDS: usize = 6;

fn step(setup: &Setup, trainer: &mut Trainer, round: usize) -> Result<()> {
    let (x, targets) = setup.batch(round * RANKS + trainer.rank());
    trainer.step(&x, targets)
}

/// How a rank ends.
#[derive(Debug, Clone, Copy, PartialEq)]
enum End {
    Error,
    Panic,
    Dropped,
}

#[test]
fn a_rank_that_ends_is_named_by_the_others_which_stay_as_they_were() {
    let setup = everything();
    for place in places() {
        for (end, at) in [(End::Error, 0), (End::Panic, 2), (End::Dropped, 3)] {
            let (begun, odd) = (Instant::now(), at % RANKS);
            let ended = Team::new(RANKS).unwrap().run(|member, own| {
                let mut trainer = rank(&setup, &place, member)?;
                for round in 0..at {
                    step(&setup, &mut trainer, round)?;
                }
                if own == odd {
                    match end {
                        End::Error => {
                            return Err(Error::Gpu {
                                message: "an end".into(),
                            });
                        }
                        End::Panic => panic!("an end"),
                        End::Dropped => return Ok(vec![]),
                    }
                }
                let before = trainer.checkpoint_bytes()?;
                for _ in 0..2 {
                    let words = match end {
                        End::Panic => "has panicked",
                        End::Error | End::Dropped => "is gone",
                    };
                    assert_names(step(&setup, &mut trainer, at), odd, words);
                    assert_eq!(trainer.batches(), (at * RANKS) as u64);
                    assert!(
                        trainer.checkpoint_bytes()? == before,
                        "after a step that failed"
                    );
                }
                Ok(before)
            });
            match (ended, end) {
                (Ok(all), End::Dropped) => {
                    let others = all.iter().enumerate().filter(|(rank, _)| *rank != odd);
                    let others: Vec<_> = others.map(|(_, bytes)| bytes).collect();
                    assert!(others[0] == others[1], "the others differ");
                }
                (Err(error), End::Error) => {
                    assert!(error.to_string().contains("an end"), "{error}")
                }
                (Err(Error::Rank { rank, reason }), End::Panic) => {
                    assert_eq!((rank, &*reason), (odd, "has panicked: an end"));
                }
                (other, _) => panic!("{end:?}: {other:?}"),
            }
            assert!(begun.elapsed() < Duration::from_secs(120), "{end:?}");
        }
    }
}

/// What all ranks come to where nothing fails.
fn undisturbed(setup: &Setup, place: &Place) -> Vec<u8> {
    let all = Team::new(RANKS).unwrap().run(|member, own| {
        assert!(own < RANKS);
        let mut trainer = rank(setup, place, member)?;
        for round in 0..ROUNDS {
            step(setup, &mut trainer, round)?;
        }
        trainer.checkpoint_bytes()
    });
    tensors(&all.unwrap()[0]).to_vec()
}

#[test]
fn a_batch_that_one_rank_refuses_changes_nothing_on_any() {
    let setup = everything();
    for place in places() {
        let all = Team::new(RANKS).unwrap().run(|member, own| {
            let mut trainer = rank(&setup, &place, member)?;
            for round in 0..ROUNDS {
                let (x, targets) = setup.batch(round * RANKS + own);
                if own == round % RANKS {
                    let refused = trainer.step(&x[1..], targets);
                    assert!(matches!(refused, Err(Error::Shape { .. })), "{refused:?}");
                } else {
                    assert_names(trainer.step(&x, targets), round % RANKS, "whole examples");
                }
                step(&setup, &mut trainer, round)?;
            }
            trainer.checkpoint_bytes()
        });
        let expected = undisturbed(&setup, &place);
        assert!(all.unwrap().iter().all(|bytes| tensors(bytes) == expected));
    }
}

/// Every rank's device is lost once, at a time of its own, and all go on from the last state that they have kept.
#[test]
fn a_lost_device_is_named_and_recovered_from_with_the_same_bits() {
    // States are due before rounds 2 and 4.
    for rounds in [[1, 3, 5], [2, 4, 4]] {
        lost_before(rounds);
    }
}

fn lost_before(rounds: [usize; RANKS]) {
    let Some(plain) = plain_gpu() else { return };
    let setup = everything();
    let expected = undisturbed(&setup, &Place::Gpu(plain.clone()));
    let new = || device(Gpu::builder()).unwrap();
    let all = Team::new(RANKS).unwrap().run(|member, own| {
        let mut gpu = new();
        let builder = setup.builder().checkpoint_every(6).distributed(member);
        let mut trainer = builder.on(&gpu)?;
        let (mut round, mut lost) = (0, 0);
        while round < ROUNDS {
            let odd = (2 * lost + 1) % RANKS;
            let fails = lost < RANKS && round == rounds[lost];
            if fails && own == odd {
                gpu.device().destroy();
            }
            match step(&setup, &mut trainer, round) {
                Ok(()) if !fails => {
                    round += 1;
                    continue;
                }
                Err(Error::DeviceLost { reason }) if fails && own == odd => {
                    assert!(reason.contains(&format!("that of rank {odd}")), "{reason}");
                    gpu = new();
                }
                other if fails && own != odd => assert_names(other, odd, "the device is lost"),
                other => panic!("rank {own}, round {round}: {other:?}"),
            }
            lost += 1;
            round = trainer.recover(&gpu)? as usize / RANKS;
        }
        assert_eq!(lost, RANKS);
        trainer.checkpoint_bytes()
    });
    assert!(all.unwrap().iter().all(|bytes| tensors(bytes) == expected));
}
