//! Loops, and what a turn of them consists of.

use crate::isa::compilers::Vendor;
use crate::isa::listing::blocks;
use crate::isa::loops::{Level, Step, nest};
use crate::listing::ACO;

fn level(multiply_adds: usize, moves: usize, vector: usize, rest: usize) -> Level {
    Level {
        multiply_adds,
        moves,
        vector,
        rest,
    }
}

#[test]
fn a_nest_has_what_each_loop_has_by_itself() {
    let nest = nest(&blocks(Vendor::Amd, ACO));
    // The outer two end in one basic block, which belongs to the middle one.
    let expected = [level(0, 1, 0, 1), level(0, 0, 3, 13), level(2, 1, 1, 5)];
    assert_eq!(nest, expected);
}

#[test]
fn a_step_runs_the_loops_that_the_compiler_has_left() {
    let (outer, inner) = (level(0, 2, 10, 20), level(4, 0, 2, 1));
    // Of 4 x 8 turns the inner 8 are one after the other.
    let step = Step::of(&[outer, inner], &[4, 8], 16).unwrap();
    assert_eq!(step.levels, [(1, outer), (4, inner)]);
    assert_eq!(step.sum(|level| level.vector), 18);
    let whole = Step::of(&[level(128, 1, 1, 1)], &[4, 8], 128).unwrap();
    assert_eq!(whole.levels.len(), 1);
    // Partly unrolled, or of another kernel.
    assert_eq!(Step::of(&[outer, inner], &[4, 8], 100), None);
    assert_eq!(Step::of(&[], &[4, 8], 16), None);
}

#[test]
fn what_is_done_once_for_all_channels_of_a_tap_is_left_out() {
    let program = "BB0:\n\tv_mov_b32 v0, 0\nBB1:\n\tds_read_b128 v[0:3], v4\n\tv_fma_f32 v0, v1, v2, v0\n\
                   \ts_cbranch_execz BB3\nBB2:\n\tds_read_b32 v5, v6\n\tv_add_f32 v5, v5, v5\nBB3:\n\
                   \ts_cbranch_scc1 BB1\nBB4:\n\ts_endpgm\n";
    assert_eq!(nest(&blocks(Vendor::Amd, program)), [level(1, 0, 0, 3)]);
}

#[test]
fn a_program_without_multiply_adds_has_no_nest() {
    let program = "BB0:\n\tv_mov_b32 v0, 0\n\ts_branch BB0\n";
    assert_eq!(nest(&blocks(Vendor::Amd, program)), []);
    assert_eq!(nest(&[]), []);
}
