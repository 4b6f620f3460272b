//! Machine code in blocks.

use crate::isa::compilers::Vendor;
use crate::isa::listing::{Kind, blocks};

pub const ACO: &str = include_str!("listings/aco.txt");
pub const NAK: &str = include_str!("listings/nak.txt");

#[test]
fn blocks_of_aco_end_in_jumps_or_in_the_block_below() {
    let blocks = blocks(Vendor::Amd, ACO);
    let next: Vec<_> = blocks.iter().map(|block| &block.next[..]).collect();
    let expected: [&[usize]; 8] = [&[7, 1], &[2], &[4, 3], &[4], &[5], &[5, 6], &[2, 7, 1], &[]];
    assert_eq!(next, expected);
}

#[test]
fn instructions_that_are_issued_together_are_two() {
    let inner = &blocks(Vendor::Amd, ACO)[5].code;
    let count = |kind| inner.iter().filter(|&&other| other == kind).count();
    assert_eq!(inner.len(), 9);
    assert_eq!(count(Kind::MultiplyAdd), 2);
    assert_eq!(count(Kind::Move), 1);
    assert_eq!(count(Kind::Vector), 1);
    assert_eq!(count(Kind::Scalar), 2);
}

#[test]
fn blocks_of_nak_name_those_that_follow() {
    let blocks = blocks(Vendor::Nvidia, NAK);
    let next: Vec<_> = blocks.iter().map(|block| &block.next[..]).collect();
    let expected: [&[usize]; 4] = [&[1, 3], &[2], &[2, 1, 3], &[]];
    assert_eq!(next, expected);
    use Kind::{Branch, Memory, Move, MultiplyAdd, Shared, Vector, Wait};
    assert_eq!(blocks[1].code, [Vector, Memory, Wait, Move]);
    let inner = [
        Shared,
        MultiplyAdd,
        MultiplyAdd,
        Vector,
        Vector,
        Branch,
        Branch,
    ];
    assert_eq!(blocks[2].code, inner);
}

#[test]
fn what_is_no_listing_has_no_blocks() {
    for vendor in [Vendor::Amd, Vendor::Nvidia, Vendor::Intel] {
        for text in ["", "} -> [1]", "\tv_mov_b32 v0, 0", "@p0 bra", "nothing"] {
            assert_eq!(blocks(vendor, text), [], "{text}");
        }
    }
}
