//! The loops of a program, and what one step of the loop that multiplies consists of.

use super::listing::{Block, Kind};

/// A level of the nest of loops that holds the multiply-adds, outermost first: what it has beside the level
/// within it, and beside what is rare.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Level {
    pub multiply_adds: usize,
    pub moves: usize,
    /// Other arithmetic of each invocation.
    pub vector: usize,
    /// Everything else.
    pub rest: usize,
}

impl Level {
    fn add(&mut self, kind: Kind) {
        match kind {
            Kind::MultiplyAdd => self.multiply_adds += 1,
            Kind::Move => self.moves += 1,
            Kind::Vector => self.vector += 1,
            Kind::Scalar | Kind::Memory | Kind::Shared | Kind::Branch | Kind::Wait => {
                self.rest += 1;
            }
        }
    }
}

/// The nest with the most multiply-adds; nothing if no loop has any.
pub fn nest(blocks: &[Block]) -> Vec<Level> {
    let loops = natural_loops(blocks);
    let mut chain: Vec<&Vec<bool>> = Vec::new();
    let multiplies = |members: &[bool]| {
        let inside = blocks.iter().zip(members).filter(|(_, inside)| **inside);
        let code = inside.flat_map(|(block, _)| &block.code);
        code.filter(|kind| **kind == Kind::MultiplyAdd).count()
    };
    // The largest of those within the last one comes next.
    loop {
        let within = loops.iter().filter(|members| match chain.last() {
            Some(outer) => *members != *outer && contains(outer, members),
            None => true,
        });
        let all = within.filter(|members| multiplies(members) > 0);
        // Of the same multiply-adds, the outer loop.
        let size = |members: &&Vec<bool>| members.iter().filter(|inside| **inside).count();
        let Some(next) = all.max_by_key(|members| (multiplies(members), size(members))) else {
            break;
        };
        chain.push(next);
    }
    let outside_of = |level: usize, at: usize| chain.get(level + 1).is_none_or(|inner| !inner[at]);
    let levels = chain.iter().enumerate().map(|(level, members)| {
        let mut own = Level::default();
        for (at, block) in blocks.iter().enumerate() {
            if members[at] && outside_of(level, at) && !is_rare(block) {
                block.code.iter().for_each(|&kind| own.add(kind));
            }
        }
        own
    });
    levels.collect()
}

/// Whether a block is what a convolution does once for all channels of a tap, rather than in each step
/// (`core/tap_quads.wgsl`): it reads what is known of columns from workgroup memory, and multiplies nothing.
fn is_rare(block: &Block) -> bool {
    block.code.contains(&Kind::Shared) && !block.code.contains(&Kind::MultiplyAdd)
}

fn contains(outer: &[bool], inner: &[bool]) -> bool {
    outer
        .iter()
        .zip(inner)
        .all(|(outer, inner)| *outer || !inner)
}

/// Which blocks are in each loop: those that lead to a jump back to a block that all ways in go through. Loops
/// with the same head are one.
fn natural_loops(blocks: &[Block]) -> Vec<Vec<bool>> {
    let mut before = vec![Vec::new(); blocks.len()];
    for (at, block) in blocks.iter().enumerate() {
        block.next.iter().for_each(|&next| before[next].push(at));
    }
    let dominators = dominators(&before);
    let mut loops: Vec<Option<Vec<bool>>> = vec![None; blocks.len()];
    for (at, block) in blocks.iter().enumerate() {
        for &head in block.next.iter().filter(|&&head| dominators[at][head]) {
            let members = loops[head].get_or_insert_with(|| vec![false; blocks.len()]);
            members[head] = true;
            let mut to_visit = vec![at];
            while let Some(here) = to_visit.pop() {
                if !std::mem::replace(&mut members[here], true) {
                    to_visit.extend(&before[here]);
                }
            }
        }
    }
    loops.into_iter().flatten().collect()
}

/// For each block, those that every way to it from the first one goes through.
fn dominators(before: &[Vec<usize>]) -> Vec<Vec<bool>> {
    let count = before.len();
    let mut dominators = vec![vec![true; count]; count];
    if let Some(first) = dominators.first_mut() {
        first.fill(false);
        first[0] = true;
    }
    let mut changed = true;
    while changed {
        changed = false;
        for at in 1..count {
            let mut new = vec![!before[at].is_empty(); count];
            for &from in &before[at] {
                new.iter_mut()
                    .zip(&dominators[from])
                    .for_each(|(new, old)| *new &= *old);
            }
            new[at] = true;
            if new != dominators[at] {
                dominators[at] = new;
                changed = true;
            }
        }
    }
    dominators
}

/// What one turn of a nest's outermost loop consists of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The levels with how often each runs in a turn.
    pub levels: Vec<(usize, Level)>,
}

impl Step {
    /// Of a nest whose inner loops, where the compiler has left them, make so many turns each in the source, and
    /// whose outermost loop makes so many multiply-adds a turn; nothing if that does not come out.
    pub fn of(nest: &[Level], turns: &[usize], multiply_adds: usize) -> Option<Self> {
        let inner = nest.len().checked_sub(1)?;
        // Which of the source's loops are left.
        let choices = (0..1usize << turns.len()).filter(|left| left.count_ones() as usize == inner);
        let steps = choices.map(|left| {
            let kept = turns
                .iter()
                .enumerate()
                .filter(|(at, _)| left >> at & 1 == 1);
            let mut runs = vec![1];
            kept.for_each(|(_, turns)| runs.push(runs[runs.len() - 1] * turns));
            let levels = runs.into_iter().zip(nest.iter().copied()).collect();
            Self { levels }
        });
        let mut fitting =
            steps.filter(|step| step.sum(|level| level.multiply_adds) == multiply_adds);
        fitting.next()
    }

    /// How many there are in a turn.
    pub fn sum(&self, count: impl Fn(&Level) -> usize) -> usize {
        self.levels
            .iter()
            .map(|(runs, level)| runs * count(level))
            .sum()
    }
}
