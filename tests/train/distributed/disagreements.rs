//! Ranks that are not alike are told when their trainers are made, and what they do otherwise when they do it.

use std::time::{Duration, Instant};

use wgpu_cnn::distributed::{Reducer, Subnormals, Team};
use wgpu_cnn::{Average, Error, Loss, Model, Optimizer, Result, Schedule, Trainer, TrainerBuilder};

use super::assert_names;

fn builder() -> TrainerBuilder {
    let model = Model::builder([2]).dense(3).build().unwrap();
    Trainer::builder(model).batch(4).seed(3)
}

/// What rank 2 of 3 has otherwise, by what it is called.
type Change = fn(TrainerBuilder) -> TrainerBuilder;

const CHANGES: [(&str, Change); 15] = [
    ("batch", |builder| builder.batch(5)),
    ("batches of an update", |builder| builder.accumulate(2)),
    ("clip_norm", |builder| builder.clip_norm(1.0)),
    ("direct_only", |builder| builder.direct_only(true)),
    ("losses", |builder| {
        builder.loss(Loss::cross_entropy().label_smoothing(0.1))
    }),
    ("schedule", |builder| {
        builder.schedule(Schedule::cosine(10, 0.0))
    }),
    ("optimizer", |builder| {
        builder.optimizer(Optimizer::sgd(1e-3))
    }),
    ("optimizer", |builder| {
        builder.optimizer(Optimizer::adam(1e-3).weight_decay(0.1))
    }),
    ("optimizer", |builder| builder.freeze("0.bias")),
    ("learning rate", |builder| {
        builder.optimizer(Optimizer::adam(2e-3))
    }),
    ("rule for learning rates", |builder| {
        builder.group(wgpu_cnn::Group::new("0.bias").rate_factor(0.5))
    }),
    ("seed", |builder| builder.seed(4)),
    ("average", |builder| builder.average(Average::ema(0.9))),
    ("data order", |builder| {
        builder.ranks_agree_on("data order", "shuffled by 8")
    }),
    ("list of what the ranks agree on", |builder| {
        builder.ranks_agree_on("command line", "")
    }),
];

#[test]
fn what_a_rank_has_otherwise_is_named() {
    for (name, change) in CHANGES {
        for odd in [0, 2] {
            let all = Team::new(3).unwrap().run(|member, rank| {
                let mut builder = builder().distributed(member);
                if rank == odd {
                    builder = change(builder);
                }
                if !(rank == odd && name == "data order") {
                    builder = builder.ranks_agree_on("data order", "shuffled by 7");
                }
                Ok(builder.on_cpu().map(drop))
            });
            for result in all.unwrap() {
                // What rank 0 alone has is told of the first that has it not.
                let named = if odd == 0 { 1 } else { 2 };
                assert_names(result, named, &format!("its {name} is not that of rank 0"));
            }
        }
    }
}

#[test]
fn another_model_and_other_weights_are_told() {
    let all = Team::new(2).unwrap().run(|member, rank| {
        let model = Model::builder([2]).dense(3 + rank).build()?;
        Ok(Trainer::builder(model)
            .distributed(member)
            .on_cpu()
            .map(drop))
    });
    for result in all.unwrap() {
        assert_names(result, 1, "its model is not that of rank 0");
    }
    let all = Team::new(2).unwrap().run(|member, rank| {
        let mut trainer = builder().distributed(member).on_cpu()?;
        trainer.check_ranks()?;
        let mut bias = trainer.parameter("0.bias")?;
        bias[1] += rank as f32;
        trainer.set_parameter("0.bias", &bias)?;
        Ok(trainer.check_ranks())
    });
    for result in all.unwrap() {
        assert_names(result, 1, "its weights is not that of rank 0");
    }
}

#[test]
fn other_calls_are_told_to_all() {
    let all = Team::new(2).unwrap().run(|member, rank| {
        let mut trainer = builder().accumulate(2).distributed(member).on_cpu()?;
        trainer.step(&[0.5; 4], &[0u8, 1])?;
        let done = match rank {
            0 => trainer.update(),
            _ => trainer.step(&[0.5; 4], &[0u8, 1]),
        };
        // Nothing has happened, and all go on.
        trainer.step(&[0.5; 4], &[0u8, 1])?;
        assert_eq!([trainer.batches(), trainer.updates()], [4, 1]);
        trainer.set_learning_rate(0.5 + rank as f64)?;
        Ok([done, trainer.step(&[0.5; 4], &[0u8, 1])])
    });
    let words = [
        "calls update, where rank 1 calls step",
        "has a learning rate of",
    ];
    for (rank, results) in all.unwrap().into_iter().enumerate() {
        let own = ["calls step, where rank 0 calls update", words[1]];
        let words = if rank == 0 { own } else { words };
        for (result, words) in results.into_iter().zip(words) {
            assert_names(result, 1 - rank, words);
        }
    }
}

/// What `gather` gives for what it is given.
type Gather = fn(&[u8]) -> Result<Vec<Vec<u8>>>;

/// A reducer as somebody writes it who has not read what it must do.
#[derive(Clone, Copy)]
struct Odd {
    rank: usize,
    size: usize,
    gathers: Gather,
}

impl Reducer for Odd {
    fn rank(&self) -> usize {
        self.rank
    }

    fn size(&self) -> usize {
        self.size
    }

    fn sum(&mut self, _: &mut [f32], _: Subnormals) -> Result<()> {
        Ok(())
    }

    fn broadcast(&mut self, _: &mut [u8], _: usize) -> Result<()> {
        Ok(())
    }

    fn barrier(&mut self) -> Result<()> {
        Ok(())
    }

    fn gather(&mut self, bytes: &[u8]) -> Result<Vec<Vec<u8>>> {
        (self.gathers)(bytes)
    }
}

#[test]
fn reducers_that_break_their_word_are_errors() {
    let good: Gather = |bytes| Ok(vec![bytes.to_vec(); 2]);
    let made = |rank, size, gathers| {
        let odd = Odd {
            rank,
            size,
            gathers,
        };
        builder().distributed(odd).on_cpu().map(drop)
    };
    for (rank, size) in [(0, 0), (2, 2), (usize::MAX, 1), (usize::MAX, usize::MAX)] {
        assert!(made(rank, size, good).is_err(), "rank {rank} of {size}");
    }
    made(1, 2, good).unwrap();
    let lies: [Gather; 6] = [
        |_| Ok(vec![]),
        |bytes| Ok(vec![bytes.to_vec(); 3]),
        |bytes| Ok(vec![bytes.to_vec(), vec![]]),
        |bytes| Ok(vec![vec![0; bytes.len() + 1]; 2]),
        |bytes| Ok(vec![bytes.to_vec(), vec![255; bytes.len()]]),
        |_| {
            Err(Error::Rank {
                rank: 1,
                reason: "is on strike".into(),
            })
        },
    ];
    for lie in lies {
        assert!(made(0, 2, lie).is_err());
    }
}

#[test]
fn a_team_says_what_it_is_asked_otherwise() {
    assert!(Team::new(0).is_err() && Team::new(1025).is_err() && Team::new(usize::MAX).is_err());
    let calls: [fn(&mut wgpu_cnn::distributed::Member, usize) -> Result<()>; 4] = [
        |member, rank| member.sum(&mut vec![0.0; 2 + rank], Subnormals::Kept),
        |member, rank| match rank {
            0 => member.barrier(),
            _ => member.broadcast(&mut [], 0),
        },
        |member, rank| member.broadcast(&mut [0; 4], rank),
        |member, rank| member.gather(&vec![0; rank]).map(drop),
    ];
    for call in calls {
        let all = Team::new(2).unwrap().run(|mut member, rank| {
            let done = call(&mut member, rank);
            // It stays so.
            Ok([done, member.barrier()])
        });
        for result in all.unwrap().into_iter().flatten() {
            assert_names(result, 1, "where rank 0 calls");
        }
    }
    let mut alone = Team::new(1).unwrap().members();
    assert!(alone[0].broadcast(&mut [1], 1).is_err());
    alone[0].broadcast(&mut [1], 0).unwrap();
}

#[test]
fn a_rank_that_does_not_come_is_given_up_in_time() {
    let begun = Instant::now();
    let timeout = Duration::from_millis(200);
    let all = Team::new(3)
        .unwrap()
        .timeout(timeout)
        .run(|mut member, rank| {
            if rank == 1 {
                std::thread::sleep(4 * timeout);
            }
            Ok([member.barrier(), member.barrier()])
        });
    for result in all.unwrap().into_iter().flatten() {
        assert_names(result, 1, "has not come to barrier in 200ms");
    }
    assert!(begun.elapsed() < Duration::from_secs(60));
}

/// Sums are made in the order of the ranks, in whatever order they come.
#[test]
fn sums_are_made_in_the_order_of_the_ranks() {
    // ((1e8 + 1) - 1e8) + 1 is 1 where 1e8 + 1 is rounded, and other orders give others.
    const VALUES: [f32; 4] = [1e8, 1.0, -1e8, 1.0];
    const WIDE: [f64; 4] = [1e17, 1.0, -1e17, 1.0];
    for late in 0..4 {
        let sums = Team::new(4).unwrap().run(|mut member, rank| {
            if rank == late {
                std::thread::sleep(Duration::from_millis(20));
            }
            let mut values = vec![VALUES[rank]; 11];
            let mut wide = vec![WIDE[rank]; 3];
            member.sum(&mut values, Subnormals::Kept)?;
            member.sum_f64(&mut wide)?;
            Ok((values, wide))
        });
        for (values, wide) in sums.unwrap() {
            assert_eq!(values, [1.0; 11]);
            assert_eq!(wide, [1.0; 3]);
        }
    }
    // A training's sum of nothing, and numbers that are none.
    let sums = Team::new(2).unwrap().run(|mut member, rank| {
        member.sum(&mut [], Subnormals::Zero)?;
        let mut values = [f32::NAN, f32::INFINITY, 1e-40, -0.0];
        values[0] = if rank == 0 { f32::NAN } else { 1.0 };
        member.sum(&mut values, Subnormals::Zero)?;
        Ok(values.map(f32::to_bits))
    });
    for bits in sums.unwrap() {
        let values = bits.map(f32::from_bits);
        assert!(values[0].is_nan() && values[1] == f32::INFINITY);
        assert_eq!(bits[2..], [0.0_f32, -0.0].map(f32::to_bits));
    }
}
