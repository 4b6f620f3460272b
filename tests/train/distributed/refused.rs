//! What one rank alone is refused, of calls that all make: the others are told, and nobody waits.

use std::time::{Duration, Instant};

use wgpu_cnn::distributed::Team;
use wgpu_cnn::{Error, Held, Losses, Model, Optimizer, Result, Trainer, TrainerBuilder};

use super::{Place, assert_names, places};
use crate::common::bits;

const X: [f32; 6] = [0.5, -1.0, 2.0, 1.5, 0.25, -0.75];
const GRADIENT: [f32; 6] = [1.0, -0.5, 0.25, 2.0, 0.75, -1.5];

fn builder() -> TrainerBuilder {
    let model = Model::builder([2]).dense(2).batch_norm().build().unwrap();
    let builder = Trainer::builder(model).batch(4).seed(3);
    builder.optimizer(Optimizer::sgd(0.1).momentum(0.5))
}

fn own() -> TrainerBuilder {
    builder().loss(Losses::own_first())
}

/// Two ranks, within a time in which none can have waited for one that does not come.
fn at_once<T: Send>(work: impl Fn(wgpu_cnn::distributed::Member, usize) -> Result<T> + Sync) {
    let begun = Instant::now();
    let team = Team::new(2).unwrap().timeout(Duration::from_secs(100));
    team.run(work).unwrap();
    assert!(begun.elapsed() < Duration::from_secs(60));
}

#[test]
fn a_trainer_that_one_rank_cannot_make() {
    at_once(|member, rank| {
        let builder = match rank {
            0 => builder(),
            _ => builder().clip_norm(-1.0),
        };
        let refused = builder.distributed(member).on_cpu().map(drop);
        match rank {
            0 => assert_names(refused, 1, "clip_norm"),
            _ => assert!(matches!(refused, Err(Error::Argument { .. }))),
        }
        Ok(())
    });
}

#[test]
fn a_trainer_that_one_rank_cannot_make_anew() {
    for place in places() {
        at_once(|member, rank| {
            let mut trainer = place.make(builder().distributed(member))?;
            trainer.step(&X, [0u8, 1, 0])?;
            let refused = trainer.rebuild(|builder| match rank {
                0 => builder.clip_norm(1.0),
                _ => builder.clip_norm(-1.0),
            });
            match rank {
                0 => assert_names(refused, 1, "clip_norm"),
                _ => assert!(matches!(refused, Err(Error::Argument { .. }))),
            }
            // Both are as they were, and a rank that keeps no states tells so.
            trainer.step(&X, [0u8, 1, 0])?;
            if let Place::Gpu(gpu) = &place {
                assert!(trainer.recover(gpu).is_err());
            }
            trainer.rebuild(|builder| builder.clip_norm(1.0))?;
            trainer.step(&X, [0u8, 1, 0])?;
            trainer.check_ranks()
        });
    }
}

/// The sums of an update that is begun are each rank's own: they are taken over by nobody.
#[test]
fn nobody_goes_on_from_within_an_update() {
    for place in places() {
        let mut single = place.make(builder().accumulate(2)).unwrap();
        single.step(&X, [0u8, 1, 0]).unwrap();
        let within = single.checkpoint_bytes().unwrap();
        single.step(&X, [0u8, 1, 0]).unwrap();
        let between = single.checkpoint_bytes().unwrap();
        at_once(|member, _| {
            let resumed = builder().accumulate(2).resume_bytes(within.clone());
            let refused = place.make(resumed.distributed(member));
            let refused = refused.map(drop).unwrap_err().to_string();
            assert!(refused.contains("within an update"), "{refused}");
            Ok(())
        });
        at_once(|member, _| {
            let resumed = builder().accumulate(2).resume_bytes(between.clone());
            let mut trainer = place.make(resumed.distributed(member))?;
            trainer.step(&X, [0u8, 1, 0])?;
            let refused = trainer.rebuild(|builder| builder.freeze("0.bias"));
            let refused = refused.unwrap_err().to_string();
            assert!(refused.contains("update comes first"), "{refused}");
            trainer.update()?;
            trainer.rebuild(|builder| builder.freeze("0.bias"))?;
            trainer.check_ranks()
        });
    }
}

/// Between a way back and its update the gradients are those of the rank's own batch, and then those of all.
#[test]
fn gradients_before_and_after_an_update() {
    for place in places() {
        let of_one = |scale: f32| {
            let mut trainer = place.make(own()).unwrap();
            trainer.forward(&X).unwrap();
            trainer
                .backward([&GRADIENT.map(|value| scale * value)])
                .unwrap();
            trainer.gradient("0.weight").unwrap()
        };
        let alone = [1.0, 3.0].map(of_one);
        at_once(|member, rank| {
            let mut trainer = place.make(own().distributed(member))?;
            for round in 0..2 {
                trainer.forward(&X)?;
                let scale = [1.0, 3.0][rank];
                trainer.backward([&GRADIENT.map(|value| scale * value)])?;
                if round == 0 {
                    let gradient = trainer.gradient("0.weight")?;
                    assert_eq!(bits(&gradient), bits(&alone[rank]));
                }
                trainer.update()?;
                if round == 0 {
                    let pairs = alone[0].iter().zip(&alone[1]);
                    let sum: Vec<f32> = pairs.map(|(a, b)| a + b).collect();
                    assert_eq!(bits(&trainer.gradient("0.weight")?), bits(&sum));
                }
            }
            // A rank without a batch has a part of zeros.
            let none = rank == 1;
            let [x, gradient] = [&X[..], &GRADIENT].map(|of| if none { &[] } else { of });
            trainer.forward(x)?;
            trainer.backward([gradient])?;
            let gradient = trainer.gradient("0.weight")?;
            assert_eq!(gradient.iter().all(|&value| value == 0.0), none);
            trainer.update()
        });
    }
}

/// Rounds without a batch: of one rank, of all of them, and too many of them for an update.
#[test]
fn rounds_without_a_batch() {
    for place in places() {
        at_once(|member, rank| {
            let mut trainer = place.make(own().distributed(member))?;
            let before = trainer.checkpoint_bytes()?;
            trainer.forward(&[0.0; 0])?;
            trainer.backward([&[0.0; 0]])?;
            assert!(
                trainer.backward([&[0.0; 0]]).is_err(),
                "without a forward pass"
            );
            trainer.update()?;
            assert!(trainer.checkpoint_bytes()? == before, "a round of nobody");
            let x = if rank == 0 { &X[..] } else { &[] };
            let gradient = if rank == 0 { &GRADIENT[..] } else { &[] };
            trainer.forward(x)?;
            trainer.backward([gradient])?;
            trainer.forward(x)?;
            let second = trainer.backward([gradient]).unwrap_err().to_string();
            assert!(second.contains("update"), "{second}");
            trainer.update()?;
            assert_eq!([trainer.batches(), trainer.updates()], [1, 1]);
            trainer.check_ranks()
        });
    }
}

#[test]
fn held_values_of_one_rank_that_are_refused_and_of_one_that_has_none() {
    for place in places() {
        at_once(|member, rank| {
            let mut trainer = place.make(own().distributed(member))?;
            let x = trainer.hold([3, 2], &X)?;
            let gradient = trainer.hold([3, 2], &GRADIENT)?;
            let wrong = trainer.hold([3], &X[..3])?;
            let given = if rank == 0 { &x } else { &wrong };
            let refused = trainer.forward_held(&[given]).map(drop);
            match rank {
                0 => assert_names(refused, 1, "expected [3, 2]"),
                _ => assert!(matches!(refused, Err(Error::Shape { .. })), "{refused:?}"),
            }
            // Of the second nothing is held.
            let some = |held| if rank == 0 { vec![held] } else { vec![] };
            let (x, gradient): (Vec<&Held>, Vec<&Held>) = (some(&x), some(&gradient));
            let outputs = trainer.forward_held(&x)?;
            assert_eq!(outputs.len(), x.len());
            trainer.backward_held(&gradient)?;
            trainer.update()?;
            assert_eq!([trainer.batches(), trainer.updates()], [1, 1]);
            trainer.check_ranks()
        });
    }
}
