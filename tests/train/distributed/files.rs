//! Files of several ranks: who writes them, and what goes on from them.

use wgpu_cnn::distributed::Team;
use wgpu_cnn::{Checkpoints, Error, Result, Trainer};

use super::{Place, assert_names, everything, places, rank, tensors};
use crate::checkpoint::setup::Setup;

const RANKS: usize = 2;

fn folder(name: &str) -> std::path::PathBuf {
    let name = format!("wgpu-cnn-{}-ranks-{name}", std::process::id());
    let folder = std::env::temp_dir().join(name);
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir(&folder).unwrap();
    folder
}

fn step(setup: &Setup, trainer: &mut Trainer, round: usize) -> Result<()> {
    let (x, targets) = setup.batch(round * trainer.ranks() + trainer.rank());
    trainer.step(&x, targets)
}

#[test]
fn rank_0_writes_and_all_go_on_with_the_same_bits() {
    let setup = everything();
    for place in places() {
        let folder = folder("resume");
        let path = folder.join("checkpoint.safetensors");
        let whole = Team::new(RANKS).unwrap().run(|member, own| {
            let mut trainer = rank(&setup, &place, member)?;
            for round in 0..5 {
                step(&setup, &mut trainer, round)?;
                if round == 2 && own == 1 {
                    // Whoever is not rank 0 writes nothing, wherever.
                    trainer.checkpoint("/no such folder/checkpoint")?;
                    trainer.save("/no such folder/weights")?;
                    let other = folder.join("other");
                    Checkpoints::new(&other).save(&trainer, None)?;
                    assert!(!other.exists());
                }
                if round == 2 {
                    trainer.checkpoint(&path)?;
                    trainer.wait_for_ranks()?;
                    assert!(path.exists());
                }
            }
            trainer.checkpoint_bytes()
        });
        let whole = whole.unwrap();
        assert!(whole[0] == whole[1], "checkpoints of two ranks");
        let goes_on = |ranks: usize| {
            let all = Team::new(ranks).unwrap().run(|member, own| {
                let builder = setup.builder().resume(&path).distributed(member);
                let mut trainer = place.make(builder)?;
                assert_eq!(trainer.batches(), 6);
                for number in 6 / ranks..10 / ranks {
                    let (x, targets) = setup.batch(number * ranks + own);
                    trainer.step(&x, targets)?;
                }
                trainer.checkpoint_bytes()
            });
            all.unwrap().swap_remove(0)
        };
        assert!(
            goes_on(RANKS) == whole[0],
            "other bytes from a checkpoint on"
        );
        // With fewer batches to an update it is another training, which goes on all the same.
        assert!(tensors(&goes_on(1)) != tensors(&whole[0]));
        // One trainer that takes as many goes on where the ranks were.
        let builder = setup.builder().accumulate(RANKS).resume(&path);
        let mut alone = place.make(builder).unwrap();
        for number in 6..10 {
            let (x, targets) = setup.batch(number);
            alone.step(&x, targets).unwrap();
        }
        assert!(tensors(&alone.checkpoint_bytes().unwrap()) == tensors(&whole[0]));
        std::fs::remove_dir_all(folder).unwrap();
    }
}

#[test]
fn states_are_kept_between_updates_by_rank_0() {
    let setup = everything();
    let folder = folder("every");
    let path = folder.join("state.safetensors");
    let all = Team::new(RANKS).unwrap().run(|member, _| {
        let builder = setup.builder().accumulate(2).checkpoint_every_to(3, &path);
        let mut trainer = Place::Cpu.make(builder.distributed(member))?;
        let mut kept = Vec::new();
        for round in 0..8 {
            step(&setup, &mut trainer, round)?;
            trainer.wait_for_ranks()?;
            let saved = path.exists().then(|| {
                let resumed = setup.builder().accumulate(2).resume(&path);
                resumed.on_cpu().unwrap().batches()
            });
            kept.push(saved);
            trainer.wait_for_ranks()?;
        }
        Ok(kept)
    });
    // An update takes four batches, and a state is due with every third: it waits for the next update.
    let expected = [
        None,
        None,
        Some(4),
        Some(4),
        Some(8),
        Some(8),
        Some(12),
        Some(12),
    ];
    for kept in all.unwrap() {
        assert_eq!(kept, expected);
    }
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn a_state_that_cannot_be_written_is_an_error_of_all_ranks() {
    let setup = everything();
    let all = Team::new(RANKS).unwrap().run(|member, own| {
        let builder = setup
            .builder()
            .checkpoint_every_to(2, "/no such folder/state");
        let mut trainer = Place::Cpu.make(builder.distributed(member))?;
        step(&setup, &mut trainer, 0)?;
        let refused = step(&setup, &mut trainer, 1);
        assert_eq!(trainer.batches(), RANKS as u64);
        match own {
            0 => assert!(matches!(refused, Err(Error::File { .. })), "{refused:?}"),
            _ => assert_names(refused, 0, "no such folder"),
        }
        Ok(())
    });
    all.unwrap();
}

#[test]
fn sums_of_several_ranks_are_in_no_checkpoint() {
    let setup = everything();
    let all = Team::new(RANKS).unwrap().run(|member, _| {
        let builder = setup.builder().accumulate(2).distributed(member);
        let mut trainer = builder.on_cpu()?;
        step(&setup, &mut trainer, 0)?;
        let refused = trainer.checkpoint_bytes().unwrap_err().to_string();
        assert!(refused.contains("update comes first"), "{refused}");
        trainer.update()?;
        trainer.checkpoint_bytes().map(drop)
    });
    all.unwrap();
}
