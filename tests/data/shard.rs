//! Loaders of which each rank has a part: together they give what one gives, and each as many batches.

use wgpu_cnn::data::{Batch, ImageFolder, Loader, LoaderBuilder, Place};
use wgpu_cnn::{Error, Result};

use crate::loader::{all, damaged, random};

/// The batches of each rank, from a place on.
fn shares(
    of: impl Fn() -> LoaderBuilder,
    size: usize,
    epoch: u64,
    from: &Place,
) -> Vec<Vec<Batch>> {
    let ranks = 0..size;
    let shares = ranks.map(|rank| {
        let workers = rank % 3;
        let loader = of().shard(rank, size).workers(workers).build().unwrap();
        loader.resume(from).unwrap();
        all(&loader, epoch)
    });
    shares.collect()
}

/// Holds the shares against the batches of one process, and says how many batches each rank got.
fn check(shares: &[Vec<Batch>], expected: &[Batch]) -> usize {
    let (size, rounds) = (shares.len(), expected.len().div_ceil(shares.len()));
    for (rank, share) in shares.iter().enumerate() {
        assert_eq!(share.len(), rounds, "rank {rank} of {size}");
        for (round, batch) in share.iter().enumerate() {
            match expected.get(round * size + rank) {
                Some(expected) => {
                    assert!(batch == expected, "round {round}, rank {rank} of {size}")
                }
                None => {
                    assert!(batch.is_empty() && batch.images.is_empty() && batch.bytes.is_empty());
                    assert_eq!((batch.len(), batch.shape.len()), (0, 0));
                    assert_eq!(round, rounds - 1, "only the last round is short");
                }
            }
        }
    }
    rounds
}

#[test]
fn ranks_together_give_the_batches_of_one_process() {
    let mut short = 0;
    for examples in [1, 4, 5, 23, 40] {
        for batch in [1, 5, 7] {
            for size in [1, 2, 3, 4, 9] {
                for (drop_last, shuffle) in [(false, true), (true, true), (false, false)] {
                    let of = || {
                        random(examples)
                            .batch(batch)
                            .drop_last(drop_last)
                            .shuffle(shuffle)
                    };
                    let Ok(one) = of().build() else {
                        assert!(drop_last && examples < batch);
                        assert!(of().shard(0, size).build().is_err());
                        continue;
                    };
                    let epoch = (examples + size) as u64;
                    let (begin, expected) = (one.place(), all(&one, epoch));
                    let shares = shares(of, size, epoch, &begin);
                    let rounds = check(&shares, &expected);
                    assert_eq!(of().shard(size - 1, size).build().unwrap().len(), rounds);
                    short += usize::from(rounds * size > expected.len());
                }
            }
        }
    }
    assert!(short > 50, "{short} uneven ends");
}

#[test]
fn any_number_of_ranks_goes_on_from_the_place_of_any_other() {
    let of = || random(43); // 9 batches
    let one = of().build().unwrap();
    let expected = all(&one, 3);
    for before in [1, 2, 4, 10] {
        for rounds in 0..expected.len().div_ceil(before) {
            let places: Vec<Place> = (0..before)
                .map(|rank| {
                    let loader = of().shard(rank, before).workers(rank % 2).build().unwrap();
                    assert_eq!(loader.epoch(3).take(rounds).count(), rounds);
                    loader.place()
                })
                .collect();
            if rounds == 0 {
                // Of an epoch that has not been begun, since nothing was taken of it.
                assert!(places.iter().all(|place| place.batch() == 0));
                continue;
            }
            assert!(places.iter().all(|place| *place == places[0]), "{places:?}");
            assert_eq!((places[0].epoch(), places[0].batch()), (3, rounds * before));
            for after in [1, 2, 3, 4] {
                check(
                    &shares(of, after, 3, &places[0]),
                    &expected[rounds * before..],
                );
            }
        }
        // Behind the last round, however short, the next epoch begins.
        for rank in 0..before {
            let loader = of().shard(rank, before).build().unwrap();
            all(&loader, 3);
            assert_eq!((loader.place().epoch(), loader.place().batch()), (4, 0));
        }
    }
}

#[test]
fn a_batch_whose_examples_are_all_damaged_is_empty_and_in_its_place() {
    let folder = damaged("shard-damaged", 11, &[2, 3, 6, 9]);
    let share = |rank, size| {
        let images = Loader::builder(ImageFolder::open(&folder.0).unwrap()).batch(2);
        let loader = images.shard(rank, size).skip_damaged(true).build().unwrap();
        let indices = loader
            .epoch(0)
            .map(|batch| batch.map(|batch| batch.indices));
        (indices.collect::<Result<Vec<_>>>(), loader.skipped())
    };
    // Files in the order of their names: 0, 1, 10, 2, 3 and so on.
    let (one, skipped) = share(0, 1);
    assert_eq!(
        one.unwrap(),
        [vec![0, 1], vec![2], vec![5], vec![6], vec![8, 9]]
    );
    assert_eq!(skipped, 4);
    let [first, second] = [0, 1].map(|rank| share(rank, 2));
    assert_eq!(first.0.unwrap(), [vec![0, 1], vec![5], vec![8, 9]]);
    assert_eq!(second.0.unwrap(), [vec![2], vec![6], vec![]]);
    assert_eq!(first.1 + second.1, skipped);
}

#[test]
fn a_rank_of_whose_part_nothing_can_be_read_says_so() {
    let folder = damaged("shard-rank", 4, &[2, 3]);
    for (rank, size, is_damaged) in [(0, 2, false), (1, 2, true), (0, 1, false), (2, 3, false)] {
        let images = Loader::builder(ImageFolder::open(&folder.0).unwrap()).batch(2);
        let loader = images.shard(rank, size).skip_damaged(true).build().unwrap();
        assert_eq!(loader.dataset().len(), 4);
        let last = loader.epoch(0).last().unwrap();
        assert_eq!(
            matches!(last, Err(Error::File { .. })),
            is_damaged,
            "rank {rank} of {size}"
        );
    }
}

#[test]
fn ranks_that_are_none_are_refused() {
    for (rank, size) in [(0, 0), (1, 1), (2, 2), (usize::MAX, usize::MAX), (3, 2)] {
        let error = random(7).shard(rank, size).build().unwrap_err().to_string();
        assert_eq!(
            error,
            format!("shard: rank {rank} of {size}: ranks are 0 to size - 1")
        );
    }
    // As many ranks as there can be: most of them have nothing to do.
    for rank in [0, 1, 6, 7, usize::MAX - 1] {
        let loader = random(7).batch(1).shard(rank, usize::MAX).build().unwrap();
        let batches = all(&loader, 1);
        assert_eq!((loader.len(), batches.len()), (1, 1));
        assert_eq!(batches[0].len(), usize::from(rank < 7));
        assert_eq!((loader.place().epoch(), loader.place().batch()), (2, 0));
    }
}
