//! The bits of several ranks are those of one trainer that takes their batches one after the other.

use wgpu_cnn::distributed::{Solo, Team};
use wgpu_cnn::{Gpu, Loss, Model, Reduction, Result, Targets, Trainer};

use super::{Place, everything, places, rank, tensors};
use crate::checkpoint::setup::{Feature, Setup};
use crate::common::{bits, random, uniform};
use crate::device::device;

const ROUNDS: usize = 5;

/// What a trainer has come to after a round.
#[derive(Debug, PartialEq)]
struct Come {
    tensors: Vec<u8>,
    /// Of each rank's batch.
    losses: Vec<Option<u32>>,
    /// Of the first parameter that has one.
    gradient: Vec<u32>,
    counts: [u64; 2],
}

fn come(trainer: &Trainer, losses: Vec<Option<u32>>) -> Come {
    let checkpoint = trainer.checkpoint_bytes().unwrap();
    Come {
        tensors: tensors(&checkpoint).to_vec(),
        losses,
        gradient: bits(&trainer.gradient("class.weight").unwrap()),
        counts: [trainer.batches(), trainer.updates()],
    }
}

/// Whether a rank has a batch in a round: in the last one the last rank has none.
fn has_batch(round: usize, rank: usize, ranks: usize) -> bool {
    round + 1 < ROUNDS || rank == 0 || rank + 1 < ranks
}

/// A batch by itself: its losses where they are the library's.
fn batch(setup: &Setup, trainer: &mut Trainer, number: Option<usize>) -> Result<Option<u32>> {
    let (x, targets) = match number {
        Some(number) => setup.batch(number),
        None => (vec![], none(setup)),
    };
    if setup.has(Feature::OwnLoss) {
        let outputs = trainer.forward(&x)?;
        trainer.backward([&Setup::own_gradient(&outputs)])?;
        return Ok(None);
    }
    trainer.step(&x, targets)?;
    match number {
        Some(_) => trainer.loss().map(|loss| Some(loss.to_bits())),
        None => Ok(None),
    }
}

/// The targets of no example.
fn none(setup: &Setup) -> Targets {
    let labels = wgpu_cnn::Target::Labels(vec![]);
    match setup.has(Feature::SeveralLosses) {
        true => vec![labels.clone(), wgpu_cnn::Target::Values(vec![])].into(),
        false => labels.into(),
    }
}

/// What goes before a round.
fn before(setup: &Setup, trainer: &mut Trainer, round: usize) -> Result<()> {
    if setup.has(Feature::Rate) && round % 2 == 1 {
        trainer.set_learning_rate(0.01 / (1.0 + round as f64))?;
    }
    if setup.has(Feature::Predictions) {
        trainer.predict(&setup.batch(0).0)?;
    }
    Ok(())
}

/// One trainer that takes the batches of all ranks for an update.
fn whole(setup: &Setup, place: &Place, ranks: usize) -> Vec<Come> {
    let mut trainer = place.make(setup.builder().accumulate(ranks)).unwrap();
    let rounds = (0..ROUNDS).map(|round| {
        before(setup, &mut trainer, round).unwrap();
        let with = (0..ranks).filter(|&rank| has_batch(round, rank, ranks));
        let losses = with.map(|rank| {
            let number = Some(round * ranks + rank);
            batch(setup, &mut trainer, number).unwrap()
        });
        let mut losses: Vec<_> = losses.collect();
        losses.resize(ranks, None);
        trainer.update().unwrap();
        come(&trainer, losses)
    });
    rounds.collect()
}

/// As many trainers, each with its own batches.
fn together(setup: &Setup, places: &[Place]) -> Vec<Come> {
    let ranks = places.len();
    let team = Team::new(ranks).unwrap();
    let all = team.run(|member, own| {
        let mut trainer = rank(setup, &places[own], member)?;
        assert_eq!((trainer.rank(), trainer.ranks()), (own, ranks));
        let rounds = (0..ROUNDS).map(|round| {
            before(setup, &mut trainer, round)?;
            let number = has_batch(round, own, ranks).then_some(round * ranks + own);
            let loss = batch(setup, &mut trainer, number)?;
            if setup.has(Feature::OwnLoss) {
                trainer.update()?;
            }
            Ok(come(&trainer, vec![loss]))
        });
        rounds.collect::<Result<Vec<Come>>>()
    });
    let mut all = all.unwrap().into_iter();
    let mut first = all.next().unwrap();
    for other in all {
        for (round, (first, mut other)) in first.iter_mut().zip(other).enumerate() {
            first.losses.append(&mut other.losses);
            other.losses.clone_from(&first.losses);
            assert!(
                *first == other,
                "{setup:?}: ranks differ after round {round}"
            );
        }
    }
    first
}

#[track_caller]
fn assert_same_bits(setup: &Setup, places: &[Place]) {
    let expected = whole(setup, &places[0], places.len());
    let found = together(setup, places);
    for (round, (expected, found)) in expected.iter().zip(&found).enumerate() {
        let ranks = places.len();
        assert_eq!(expected.counts, found.counts, "{setup:?}, {ranks} ranks");
        assert_eq!(
            expected.losses, found.losses,
            "{setup:?}, {ranks} ranks: losses of {round}"
        );
        assert!(
            expected.gradient == found.gradient,
            "{setup:?}, {ranks} ranks: other gradients after round {round}"
        );
        assert!(
            expected.tensors == found.tensors,
            "{setup:?}, {ranks} ranks: other bits after round {round}"
        );
    }
}

fn with_every_feature(place: &Place, ranks: usize) {
    let on_gpu = matches!(place, Place::Gpu(_));
    let features = Feature::ALL.into_iter();
    // How many batches make an update is the number of the ranks.
    let features = features.filter(|feature| *feature != Feature::Accumulate);
    for feature in features.filter(|feature| on_gpu || !feature.is_for_gpus()) {
        assert_same_bits(&Setup::of(&[feature]), &vec![place.clone(); ranks]);
    }
}

#[test]
fn two_ranks_on_the_cpu_with_every_feature() {
    with_every_feature(&Place::Cpu, 2);
}

#[test]
fn two_ranks_on_a_gpu_with_every_feature() {
    for place in places().iter().skip(1) {
        with_every_feature(place, 2);
    }
}

#[test]
fn one_two_and_four_ranks_with_everything_at_once() {
    for place in places() {
        for ranks in [1, 2, 4] {
            assert_same_bits(&everything(), &vec![place.clone(); ranks]);
        }
    }
}

/// Devices of their own, of the one adapter that there may be.
#[test]
fn four_devices_in_one_process() {
    let devices = (0..4).map_while(|_| device(Gpu::builder()));
    let devices: Vec<Place> = devices.map(Place::Gpu).collect();
    if !devices.is_empty() {
        assert_same_bits(&everything(), &devices);
    }
}

/// The kernels of a rank are those that are checked, and are right.
#[test]
fn a_rank_verifies_its_kernels() {
    let setup = everything();
    for place in places().iter().skip(1) {
        let reports = Team::new(2).unwrap().run(|member, _| {
            let mut trainer = rank(&setup, place, member)?;
            let before = trainer.checkpoint_bytes()?;
            let report = trainer.verify()?;
            assert!(report.passed(), "{report}");
            assert!(trainer.checkpoint_bytes()? == before);
            trainer.wait_for_ranks()
        });
        reports.unwrap();
    }
}

/// A reducer of one rank changes nothing.
#[test]
fn a_rank_by_itself_is_a_trainer_like_any_other() {
    let setup = everything();
    for place in places() {
        let [mut plain, mut solo] = [false, true].map(|solo| {
            let builder = setup.builder();
            let builder = if solo {
                builder.distributed(Solo)
            } else {
                builder
            };
            place.make(builder).unwrap()
        });
        for step in 0..4 {
            setup.step(&mut plain, step);
            setup.step(&mut solo, step);
            let losses = [plain.loss(), solo.loss_of_all_ranks()];
            let [ours, theirs] = losses.map(|loss| loss.unwrap().to_bits());
            assert_eq!(ours, theirs);
        }
        assert_eq!(plain.checkpoint_bytes(), solo.checkpoint_bytes());
        solo.check_ranks().unwrap();
        solo.wait_for_ranks().unwrap();
    }
}

/// Ranks that take several batches each for an update: the sums are those of each rank first, masks and
/// statistics those of batches dealt out one by one.
#[test]
fn batches_that_ranks_add_up_first_are_dealt_out_one_by_one() {
    let setup = Setup::of(&[Feature::Dropout, Feature::BatchNorm, Feature::PartialBatch]);
    const RANKS: usize = 2;
    for place in places() {
        let builder = || setup.builder().accumulate(3);
        let mut whole = place.make(setup.builder().accumulate(6)).unwrap();
        let running = |trainer: &Trainer| {
            let names = ["bn.running_mean", "bn.running_var"];
            names.map(|name| bits(&trainer.parameter(name).unwrap()))
        };
        let mut expected = Vec::new();
        for number in 0..12 {
            setup.step(&mut whole, number);
            let loss = whole.loss().unwrap().to_bits();
            expected.push((loss, running(&whole)));
        }
        let team = Team::new(RANKS).unwrap();
        let weights = team.run(|member, own| {
            let mut trainer = place.make(builder().distributed(member))?;
            for number in (own..12).step_by(RANKS) {
                setup.step(&mut trainer, number);
                let loss = trainer.loss()?.to_bits();
                // Of the first update no weight differs by a rounding.
                if number < 6 {
                    assert_eq!(loss, expected[number].0, "batch {number}");
                    let dealt = number - own + RANKS - 1;
                    assert_eq!(running(&trainer), expected[dealt].1, "batch {number}");
                }
            }
            assert_eq!([trainer.batches(), trainer.updates()], [12, 2]);
            trainer.parameter("class.weight")
        });
        let weights = weights.unwrap();
        assert_eq!(bits(&weights[0]), bits(&weights[1]));
        let same = whole.parameter("class.weight").unwrap();
        for (ours, theirs) in weights[0].iter().zip(&same) {
            assert!((ours - theirs).abs() < 1e-5, "{ours} and {theirs}");
        }
    }
}

#[test]
fn the_loss_of_all_ranks_is_that_of_all_of_their_rows() {
    // Of three ranks, the last of which ignores all of its labels.
    const LABELS: [&[i64]; 3] = [&[0, -1, 2, 1], &[1, 1], &[-1, -1, -1]];
    let model = Model::builder([3]).dense(3).build().unwrap();
    let x = |rank: usize| uniform(&mut random(rank as u64), 3 * LABELS[rank].len());
    for reduction in [Reduction::Mean, Reduction::Sum] {
        let loss = Loss::cross_entropy()
            .ignored_label(-1)
            .class_weights([0.5, 2.0, 1.0]);
        let loss = loss.reduction(reduction);
        let builder = || Trainer::builder(model.clone()).loss(loss.clone()).batch(9);
        let losses = Team::new(3).unwrap().run(|member, rank| {
            let mut trainer = builder().distributed(member).on_cpu()?;
            assert!(
                trainer.loss_of_all_ranks().is_err(),
                "before the first step"
            );
            trainer.step(&x(rank), LABELS[rank])?;
            assert_eq!(
                trainer.loss()?.is_nan(),
                rank == 2 && reduction == Reduction::Mean
            );
            trainer.loss_of_all_ranks()
        });
        let mut whole = builder().on_cpu().unwrap();
        whole
            .step(&[x(0), x(1), x(2)].concat(), LABELS.concat())
            .unwrap();
        let expected = whole.loss().unwrap();
        for loss in losses.unwrap() {
            assert!(
                (loss - expected).abs() < 1e-6 * expected.abs(),
                "{loss}, {expected}"
            );
        }
    }
}
