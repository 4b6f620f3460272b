//! Several ranks: reducers that keep their word and such that do not, and what is made of them.

use std::time::Duration;

use pollster::block_on;
use wgpu_cnn::distributed::{Member, Reducer, Subnormals, Team, add};
use wgpu_cnn::{Error, Result, Trainer};

use crate::call::Call;
use crate::draw::Draw;
use crate::train::{builder, used, usual};

const REDUCER: &[&str] = &[
    "Reducer::rank",
    "Reducer::size",
    "Reducer::sum",
    "Reducer::broadcast",
    "Reducer::barrier",
    "Reducer::gather",
    "Reducer::sum_f64",
    "distributed::add",
];

const TEAM: &[&str] = &["Team::new", "Team::timeout", "Team::members", "Team::run"];

const TRAINER: &[&str] = &[
    "TrainerBuilder::distributed",
    "TrainerBuilder::ranks_agree_on",
    "Trainer::rank",
    "Trainer::ranks",
    "Trainer::wait_for_ranks",
    "Trainer::check_ranks",
    "Trainer::check_ranks_async",
    "Trainer::loss_of_all_ranks",
    "Trainer::loss_of_all_ranks_async",
];

pub fn calls() -> Vec<Call> {
    vec![
        Call::quick(REDUCER, |d| reducer(d).is_ok()),
        Call::medium(TEAM, |d| team(d).is_ok()),
        Call::medium(TRAINER, |d| trainers(d).is_ok()),
        Call::medium(&["Team::run_on"], |d| {
            let run = Team::new(d.number()).and_then(|team| team.run_on(&[], |_, _, _| Ok(())));
            run.is_ok()
        }),
    ]
}

/// A reducer of one thread that does as it was drawn.
struct Drawn {
    rank: usize,
    size: usize,
    draw: Draw,
}

impl Drawn {
    fn new(d: &mut Draw) -> Self {
        let size = match d.is_hostile() {
            true => d.number(),
            false => 2,
        };
        let rank = match d.is_hostile() {
            true => d.number(),
            false => d.below(2),
        };
        let draw = Draw::new(d.number() as u64, d.number() as u64);
        Self { rank, size, draw }
    }

    fn fails(&mut self) -> Result<()> {
        match self.draw.is_hostile() && self.draw.flag() {
            true => Err(Error::Rank {
                rank: self.draw.number(),
                reason: "was drawn".into(),
            }),
            false => Ok(()),
        }
    }
}

impl Reducer for Drawn {
    fn rank(&self) -> usize {
        self.rank
    }

    fn size(&self) -> usize {
        self.size
    }

    fn sum(&mut self, values: &mut [f32], _: Subnormals) -> Result<()> {
        values
            .iter_mut()
            .for_each(|value| *value *= self.draw.single());
        self.fails()
    }

    fn broadcast(&mut self, bytes: &mut [u8], _: usize) -> Result<()> {
        if self.draw.is_hostile() {
            bytes.fill(self.draw.number() as u8);
        }
        self.fails()
    }

    fn barrier(&mut self) -> Result<()> {
        self.fails()
    }

    /// Both ranks say the same, or something else of any length.
    fn gather(&mut self, bytes: &[u8]) -> Result<Vec<Vec<u8>>> {
        self.fails()?;
        let mut all = vec![bytes.to_vec(); 2];
        if self.draw.is_hostile() {
            let at = self.draw.below(2);
            let len = self.draw.below(2 * bytes.len() + 2);
            all[at] = (0..len).map(|_| self.draw.number() as u8).collect();
        }
        if self.draw.is_hostile() {
            all.truncate(self.draw.below(3));
        }
        Ok(all)
    }
}

/// What the trait does by itself, and sums of slices of other lengths.
fn reducer(d: &mut Draw) -> Result<()> {
    struct Alone(Drawn);
    impl Reducer for Alone {
        fn rank(&self) -> usize {
            self.0.rank
        }
        fn size(&self) -> usize {
            self.0.size.min(1 << 10)
        }
        fn sum(&mut self, values: &mut [f32], subnormals: Subnormals) -> Result<()> {
            self.0.sum(values, subnormals)
        }
        fn broadcast(&mut self, bytes: &mut [u8], root: usize) -> Result<()> {
            self.0.broadcast(bytes, root)
        }
        fn barrier(&mut self) -> Result<()> {
            self.0.barrier()
        }
    }
    let mut alone = Alone(Drawn::new(d));
    let [longer, shorter] = [d.number(), d.number()];
    let (mut sum, values) = (d.floats::<f32>(longer), d.floats::<f32>(shorter));
    let subnormals = d.pick(&[Subnormals::Kept, Subnormals::Zero]);
    add(&mut sum, &values, subnormals);
    alone.sum(&mut sum, subnormals)?;
    alone.sum_f64(&mut d.floats::<f64>(longer))?;
    let gathered = alone.gather(&[d.number() as u8; 5])?;
    assert_eq!(gathered.len(), alone.size());
    alone.broadcast(&mut [0; 3], d.number())?;
    alone.barrier()
}

/// Two ranks that call what was drawn for each: they agree or are told that they do not, and none hangs.
fn team(d: &mut Draw) -> Result<()> {
    Team::new(d.number()).map(drop)?;
    let seeds = [d.number() as u64; 2].map(|seed| seed.wrapping_add(u64::from(d.is_hostile())));
    let call = |member: &mut Member, d: &mut Draw| -> Result<()> {
        let len = d.number() % 100;
        match d.below(5) {
            0 => member.sum(&mut d.floats::<f32>(len), Subnormals::Kept),
            1 => member.sum_f64(&mut d.floats::<f64>(len)),
            2 => member.broadcast(&mut vec![0; len], d.number()),
            3 => member.gather(&vec![0; len]).map(drop),
            _ => member.barrier(),
        }
    };
    let run = |mut member: Member, rank: usize| {
        let mut d = Draw::new(seeds[rank], 0);
        (0..d.below(6)).try_for_each(|_| call(&mut member, &mut d))
    };
    let timeout = Duration::from_secs(20);
    match d.flag() {
        true => Team::new(2)?.timeout(timeout).run(run).map(drop),
        false => {
            let mut members = Team::new(1)?.timeout(Duration::ZERO).members();
            (0..d.below(6)).try_for_each(|_| call(&mut members[0], d))
        }
    }
}

/// A trainer that trains with one that says what was drawn.
fn trainers(d: &mut Draw) -> Result<()> {
    let builder = match d.flag() {
        true => builder(d),
        false => usual(d),
    };
    let builder = builder.distributed(Drawn::new(d));
    let mut trainer = builder
        .ranks_agree_on("data", [d.number() as u8])
        .on_cpu()?;
    assert!(trainer.rank() < trainer.ranks());
    used(d, &mut trainer)?;
    told(d, &mut trainer)
}

fn told(d: &mut Draw, trainer: &mut Trainer) -> Result<()> {
    trainer.wait_for_ranks()?;
    match d.flag() {
        true => trainer.check_ranks()?,
        false => block_on(trainer.check_ranks_async())?,
    }
    match d.flag() {
        true => trainer.loss_of_all_ranks()?,
        false => block_on(trainer.loss_of_all_ranks_async())?,
    };
    Ok(())
}
