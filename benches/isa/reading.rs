//! What a compiler's report says of a kernel's speed.

use std::fmt::Write as _;

use super::cases::Nest;
use super::compilers::{Compiled, Vendor};
use super::listing::blocks;
use super::loops::{Level, Step, nest};

/// What is known of a pipeline on a GPU.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Reading {
    /// Of an invocation: vector registers on AMD. On Intel, those of a subgroup that are in use at once.
    pub registers: u32,
    /// Subgroups that have room at once: on a SIMD (AMD), on an SM (NVIDIA).
    pub resident: Option<u32>,
    /// Registers that were kept in memory.
    pub spills: u32,
    /// Invocations of a subgroup.
    pub width: u32,
    pub instructions: u32,
    /// What a step issues, loop within loop.
    pub step: Option<String>,
    /// The share of a step that multiply-adds are, in percent.
    pub ceiling: Option<f64>,
}

impl Reading {
    pub fn of(vendor: Vendor, compiled: &Compiled, loops: Option<&Nest>) -> Self {
        let statistic = |names: &[&str]| {
            let found = names
                .iter()
                .filter_map(|name| compiled.statistics.get(*name));
            let found: Vec<u32> = found.map(|&value| value as u32).collect();
            (!found.is_empty()).then(|| found.into_iter().sum())
        };
        let of = |names: &[&str]| statistic(names).unwrap_or_default();
        let (registers, resident, spills) = match vendor {
            Vendor::Amd => (
                of(&["VGPRs"]),
                statistic(&["Subgroups per SIMD"]),
                of(&["Spilled VGPRs", "Spilled SGPRs"]),
            ),
            Vendor::Nvidia => {
                let registers = of(&["Number of GPRs"]);
                // Bytes of memory of an invocation: no kernel has arrays of its own, so these are spills.
                (registers, Some(warps(registers)), of(&["SLM Size"]) / 4)
            }
            Vendor::Intel => (of(&["Max live registers"]), None, of(&["Spill Count"])),
        };
        let nest = nest(&blocks(vendor, &compiled.listing));
        let step = loops.and_then(|loops| Step::of(&nest, &loops.turns, loops.multiply_adds));
        Self {
            registers,
            resident,
            spills,
            width: compiled.width,
            instructions: of(&["Instructions", "Instruction count", "Instruction Count"]),
            ceiling: step.as_ref().map(|step| ceiling(vendor, step)),
            step: step.map(|step| written(vendor, &step)),
        }
    }
}

/// Warps of so many registers that an SM of Ampere has room for: 65,536 registers, by 256 a warp.
fn warps(registers: u32) -> u32 {
    (65_536 / (32 * registers.max(1).next_multiple_of(8))).min(48)
}

/// Instructions that take the place of a multiply-add where they are issued.
fn issued(vendor: Vendor, level: &Level) -> usize {
    let others = match vendor {
        // Vector, scalar, memory and branch instructions of different waves are issued side by side.
        Vendor::Amd => level.moves,
        // One of any kind at a time. NAK copies registers at the heads of loops where NVIDIA's own compiler
        // does not, so copies are left out.
        Vendor::Nvidia | Vendor::Intel => level.rest,
    };
    level.multiply_adds + level.vector + others
}

fn ceiling(vendor: Vendor, step: &Step) -> f64 {
    let all = step.sum(|level| issued(vendor, level));
    100.0 * step.sum(|level| level.multiply_adds) as f64 / all as f64
}

/// `120 + 8 x (50 + 8 x 66)`: what each loop issues beside the one within it.
fn written(vendor: Vendor, step: &Step) -> String {
    let (mut text, mut before) = (String::new(), 1);
    for (at, &(runs, ref level)) in step.levels.iter().enumerate() {
        let count = issued(vendor, level);
        let last = at + 1 == step.levels.len();
        let _ = match (at, last) {
            (0, _) => write!(text, "{count}"),
            (_, true) => write!(text, " + {} x {count}", runs / before),
            (_, false) => write!(text, " + {} x ({count}", runs / before),
        };
        before = runs;
    }
    text + &")".repeat(step.levels.len().saturating_sub(2))
}
