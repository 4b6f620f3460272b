//! Memory by liveness: transient buffers whose lives do not overlap share one.

use super::kernel::Access;
use super::record::{BufferId, Dispatch, Recording, Storage};

/// Which physical buffer each buffer of a recording has.
#[derive(Debug)]
pub(crate) struct Assignment {
    pub slots: Vec<Option<usize>>,
    /// Bytes of each physical buffer.
    pub sizes: Vec<u64>,
    /// Whether a physical buffer is shared by transient ones.
    pub transient: Vec<bool>,
}

impl Recording {
    /// Gives each buffer its memory: the index of a physical buffer, and the sizes of those.
    /// Transient buffers whose lives do not overlap share one, the large ones choosing first;
    /// persistent ones and constants have one each, and bound ones none.
    pub fn assign(&self) -> Assignment {
        let mut lives: Vec<Option<(usize, usize)>> = vec![None; self.buffers.len()];
        for (time, dispatch) in self.dispatches.iter().enumerate() {
            for region in dispatch.regions() {
                let life = lives[region.buffer.0].get_or_insert((time, time));
                life.1 = time;
            }
        }
        let mut assignment = Assignment {
            slots: vec![None; self.buffers.len()],
            sizes: vec![],
            transient: vec![],
        };
        let mut transients = Vec::new();
        for (id, buffer) in self.buffers.iter().enumerate() {
            match (&buffer.storage, lives[id]) {
                (Storage::Persistent | Storage::Constant(_), _) => {
                    assignment.slots[id] = Some(assignment.sizes.len());
                    assignment.sizes.push(buffer.size);
                    assignment.transient.push(false);
                }
                (Storage::Transient, Some(life)) => transients.push((id, life)),
                (Storage::Transient, None) | (Storage::Bound(_), _) => {}
            }
        }
        let size = |id: usize| std::cmp::Reverse(self.buffers[id].size);
        transients.sort_unstable_by_key(|&(id, life)| (size(id), life, id));
        let mut tenants: Vec<Vec<(usize, usize)>> = vec![vec![]; assignment.sizes.len()];
        for (id, life) in transients {
            let apart = |other: &(usize, usize)| other.1 < life.0 || life.1 < other.0;
            let free = (0..tenants.len())
                .find(|&slot| assignment.transient[slot] && tenants[slot].iter().all(apart));
            let slot = free.unwrap_or_else(|| {
                assignment.sizes.push(self.buffers[id].size);
                assignment.transient.push(true);
                tenants.push(vec![]);
                tenants.len() - 1
            });
            tenants[slot].push(life);
            assignment.slots[id] = Some(slot);
        }
        assignment
    }

    /// How many of some dispatches, one after the other, wait for what those before them did: as wgpu sees to it, all
    /// that use memory that was written since somebody waited for that, or write what was read. What stands in for
    /// absent outputs is one buffer, which wgpu takes to be written.
    pub fn barriers(&self, order: impl Iterator<Item = usize>) -> usize {
        let slots = self.assign().slots;
        let memory = |BufferId(id): BufferId| Some(slots[id].ok_or(id));
        let mut states: Vec<(Option<Result<usize, usize>>, Access)> = vec![];
        let mut barriers = 0;
        for at in order {
            let dispatch = &self.dispatches[at];
            let accesses = dispatch.accesses();
            let accesses = accesses.map(|(region, access)| (memory(region.buffer), access));
            let absent = lacks_an_output(dispatch).then_some((None, Access::ReadWrite));
            let mut waits = false;
            for (memory, access) in accesses.chain(absent) {
                match states.iter_mut().find(|(known, _)| *known == memory) {
                    Some((_, Access::Read)) if access == Access::Read => {}
                    Some((_, state)) => (waits, *state) = (true, access),
                    None => states.push((memory, access)),
                }
            }
            barriers += usize::from(waits);
        }
        barriers
    }
}

/// Whether something stands in for one of the buffers that a dispatch could write to.
fn lacks_an_output(dispatch: &Dispatch) -> bool {
    let mut bindings = dispatch.bindings.iter().zip(dispatch.kernel.bindings);
    bindings.any(|(region, &access)| region.is_none() && access == Access::ReadWrite)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::kernels::broadcast::add;
    use crate::gpu::kernels::reduce::sum_parts;
    use crate::gpu::record::Region;
    use crate::gpu::strategy::Traits;

    /// Dispatches that each read two buffers and write a third; the buffers' sizes in elements.
    fn recording(sizes: &[usize], dispatches: &[[usize; 3]]) -> Recording {
        let mut recording = Recording::new(Traits::DEFAULT);
        let buffer = |&len: &usize| recording.transient("", len);
        let regions: Vec<Region> = sizes.iter().map(buffer).collect();
        for &[left, right, output] in dispatches {
            add(
                &mut recording,
                1,
                [regions[left], regions[right]],
                regions[output].into(),
            );
        }
        recording
    }

    /// The first and last dispatch that touches a buffer.
    fn life(dispatches: &[[usize; 3]], buffer: usize) -> Option<[usize; 2]> {
        let uses = |dispatch: &[usize; 3]| dispatch.contains(&buffer);
        Some([
            dispatches.iter().position(uses)?,
            dispatches.iter().rposition(uses)?,
        ])
    }

    #[test]
    fn a_chain_needs_the_memory_of_its_two_largest_neighbours() {
        let chain: Vec<[usize; 3]> = (0..7).map(|i| [i, i, i + 1]).collect();
        let sizes = [100, 100, 60, 40, 100, 100, 80, 20];
        let assignment = recording(&sizes, &chain).assign();
        assert_eq!(assignment.sizes, [400, 400]);
        assert_eq!(assignment.transient, [true, true]);
        for (left, right) in assignment.slots.iter().zip(&assignment.slots[1..]) {
            assert_ne!(left, right);
        }
    }

    #[test]
    fn buffers_that_live_at_once_never_share_memory() {
        let mut rng = fastrand::Rng::with_seed(1);
        for _ in 0..300 {
            let count = rng.usize(3..20);
            let sizes: Vec<usize> = (0..count).map(|_| rng.usize(1..1000)).collect();
            let dispatches: Vec<[usize; 3]> = (0..rng.usize(1..25))
                .map(|_| [0; 3].map(|_| rng.usize(0..count)))
                .collect();
            let recording = recording(&sizes, &dispatches);
            let assignment = recording.assign();
            for (a, slot) in assignment.slots.iter().enumerate() {
                let life_of_a = life(&dispatches, a);
                assert_eq!(slot.is_some(), life_of_a.is_some());
                let (Some(slot), Some([begin, end])) = (*slot, life_of_a) else {
                    continue;
                };
                assert!(assignment.sizes[slot] >= recording.buffers[a].size);
                for b in (0..a).filter(|&b| assignment.slots[b] == Some(slot)) {
                    let [other_begin, other_end] = life(&dispatches, b).unwrap();
                    assert!(
                        end < other_begin || other_end < begin,
                        "{a} and {b} share {slot}"
                    );
                }
            }
        }
    }

    #[test]
    fn persistent_buffers_share_nothing_and_unused_ones_have_no_memory() {
        let mut recording = recording(&[8, 8, 8], &[[0, 0, 1]]);
        let kept = recording.buffer("", 8, Storage::Persistent);
        add(&mut recording, 1, [kept, kept], kept.into());
        let assignment = recording.assign();
        let slot = assignment.slots[kept.buffer.0];
        assert_eq!(
            assignment
                .slots
                .iter()
                .filter(|&&other| other == slot)
                .count(),
            1
        );
        assert!(!assignment.transient[slot.unwrap()]);
        assert_eq!(assignment.slots[2], None);
    }

    #[test]
    fn whole_trainings_take_little_more_than_what_lives_at_once() {
        use crate::gpu::kernels::shader_models::{adapters, trainings};
        use crate::gpu::strategy::Core;
        let (mut all_taken, mut all_least) = (0, 0);
        // Large images that are unfolded, as nobody does who does not prefer it, outgrow all else at their time.
        let even = |traits: &Traits| traits.preferred != Some(Core::Unfolded);
        for recording in adapters().into_iter().filter(even).flat_map(trainings) {
            let assignment = recording.assign();
            let sizes = assignment.sizes.iter().zip(&assignment.transient);
            let taken: u64 = sizes
                .filter(|(_, transient)| **transient)
                .map(|(size, _)| size)
                .sum();
            let mut lives = vec![None; recording.buffers.len()];
            for (time, dispatch) in recording.dispatches.iter().enumerate() {
                for region in dispatch.regions() {
                    lives[region.buffer.0].get_or_insert((time, time)).1 = time;
                }
            }
            let transient =
                |id: &usize| matches!(recording.buffers[*id].storage, Storage::Transient);
            let live = |time: usize| -> u64 {
                let at = |id: &usize| lives[*id].is_some_and(|(a, b)| a <= time && time <= b);
                let ids = (0..lives.len()).filter(transient).filter(at);
                ids.map(|id| recording.buffers[id].size).sum()
            };
            let least = (0..recording.dispatches.len()).map(live).max().unwrap();
            // Of little memory, a single buffer in a place of its own is much.
            let small = least < 1 << 20;
            assert!(
                small || taken <= least + least / 4,
                "{taken} bytes, {least} at once"
            );
            (all_taken, all_least) = (all_taken + taken, all_least + least);
        }
        assert!(
            all_taken <= all_least + all_least / 8,
            "{all_taken} of {all_least}"
        );
    }

    #[test]
    fn absent_outputs_are_one_buffer_that_is_written() {
        let mut recording = Recording::new(Traits::DEFAULT);
        for _ in 0..3 {
            let [parts, sum] = [64, 16].map(|len| recording.buffer("", len, Storage::Persistent));
            // What a second result would go to is absent.
            sum_parts(&mut recording, parts, 4, [1, 16, 1], None, sum.into());
        }
        assert_eq!(recording.dispatches.len(), 3);
        assert_eq!(recording.barriers(0..3), 2);
        assert_eq!(recording.barriers(0..1), 0);
    }

    #[test]
    fn a_dispatch_waits_for_what_was_written_and_before_it_overwrites() {
        let barriers = |dispatches: &[[usize; 3]]| {
            let mut recording = recording(&[100; 6], dispatches);
            let buffers = recording.buffers.iter_mut();
            buffers.for_each(|buffer| buffer.storage = Storage::Persistent);
            recording.barriers(0..dispatches.len())
        };
        assert_eq!(barriers(&[[0, 1, 2], [0, 1, 3]]), 0);
        assert_eq!(barriers(&[[0, 1, 2], [2, 1, 3]]), 1);
        // Once it has waited, what others read of it is there.
        assert_eq!(barriers(&[[0, 1, 2], [2, 1, 3], [2, 1, 4]]), 1);
        assert_eq!(barriers(&[[0, 1, 2], [3, 4, 1]]), 1);
        assert_eq!(barriers(&[[0, 1, 2], [3, 4, 2]]), 1);
        // Transient buffers that are not there at once are the same memory.
        assert_eq!(
            recording(&[100; 6], &[[0, 1, 2], [0, 1, 3]]).barriers(0..2),
            1
        );
    }
}
