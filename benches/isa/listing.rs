//! A compiler's machine code as text, in blocks: that of ACO (AMD) and of NAK (NVIDIA). Other listings have no
//! blocks that are known here.

use super::compilers::Vendor;

/// Instructions that follow each other, and the blocks that may come next.
#[derive(Debug, Default, PartialEq)]
pub struct Block {
    pub code: Vec<Kind>,
    pub next: Vec<usize>,
}

/// What an instruction is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    MultiplyAdd,
    /// A copy of a register.
    Move,
    /// Any other arithmetic, on values that each invocation has of its own.
    Vector,
    /// Arithmetic on what a subgroup has in common.
    Scalar,
    Memory,
    /// A load from workgroup memory.
    Shared,
    Branch,
    /// Barriers, and waits for what is on its way.
    Wait,
}

/// The blocks of a listing, the first one first.
pub fn blocks(vendor: Vendor, listing: &str) -> Vec<Block> {
    match vendor {
        Vendor::Amd => aco(listing),
        Vendor::Nvidia => nak(listing),
        Vendor::Intel => vec![],
    }
}

/// Blocks begin with `BB7:`, and end in a jump or in the block below.
fn aco(listing: &str) -> Vec<Block> {
    let (mut blocks, mut labels) = (Vec::<Block>::new(), Vec::new());
    let mut jumps = Vec::new();
    let mut ends = false;
    for line in listing.lines() {
        if let Some(label) = line
            .strip_suffix(':')
            .filter(|label| label.starts_with("BB"))
        {
            if !ends && !blocks.is_empty() {
                jumps.push((blocks.len() - 1, label));
            }
            labels.push(label);
            blocks.push(Block::default());
            ends = false;
            continue;
        }
        let (at, indented) = (blocks.len(), line.starts_with([' ', '\t']));
        let (Some(block), true) = (blocks.last_mut(), indented) else {
            continue;
        };
        let body = line.split(';').next().unwrap_or_default();
        // Two instructions that are issued together count as two.
        for operation in body.split("::").filter_map(operation) {
            block.code.push(aco_kind(operation));
            ends |= ["s_branch", "s_endpgm", "s_setpc_b64"].contains(&operation);
        }
        let branches = block.code.last() == Some(&Kind::Branch);
        let target = body.split_whitespace().find(|word| word.starts_with("BB"));
        jumps.extend(target.filter(|_| branches).map(|target| (at - 1, target)));
    }
    for (from, label) in jumps {
        let to = labels.iter().position(|other| *other == label);
        blocks[from].next.extend(to);
    }
    blocks
}

/// The first word, if it names an operation.
fn operation(body: &str) -> Option<&str> {
    let word = body.split_whitespace().next()?;
    word.starts_with(|c: char| c.is_ascii_lowercase())
        .then_some(word)
}

fn aco_kind(operation: &str) -> Kind {
    let begins = |prefixes: &[&str]| prefixes.iter().any(|prefix| operation.starts_with(prefix));
    const MULTIPLY_ADD: [&str; 4] = ["v_fma", "v_mac_", "v_pk_fma", "v_dual_fma"];
    match () {
        // What converts from half precision.
        () if begins(&["v_fma_mix"]) => Kind::Vector,
        () if begins(&MULTIPLY_ADD) => Kind::MultiplyAdd,
        () if begins(&["v_mov", "v_dual_mov"]) => Kind::Move,
        () if begins(&["v_"]) => Kind::Vector,
        () if begins(&["ds_read", "ds_load"]) => Kind::Shared,
        () if begins(&[
            "ds_", "buffer_", "global_", "scratch_", "s_load", "s_buffer",
        ]) =>
        {
            Kind::Memory
        }
        () if begins(&["s_branch", "s_cbranch"]) => Kind::Branch,
        () if begins(&["s_barrier", "s_wait", "s_delay", "s_nop", "s_clause"]) => Kind::Wait,
        () => Kind::Scalar,
    }
}

/// Blocks are `block 3 L3 ... {` to `} -> [4, 7]`, with predicates before the operations and what is
/// written before an equals sign.
fn nak(listing: &str) -> Vec<Block> {
    let (mut blocks, mut numbers) = (Vec::<Block>::new(), Vec::new());
    let mut followers = Vec::new();
    for line in listing.lines() {
        if line.starts_with("block") {
            let number = line.split_whitespace().nth(1).unwrap_or_default();
            numbers.push(number);
            blocks.push(Block::default());
        } else if let Some(rest) = line.strip_prefix("} -> [") {
            let list = rest.split(']').next().unwrap_or_default().split(',');
            let last = blocks.len().checked_sub(1);
            followers.extend(list.filter_map(|number| Some((last?, number.trim()))));
        } else if let (Some(block), true) = (blocks.last_mut(), line.starts_with([' ', '\t', '@']))
        {
            let body = line.split("//").next().unwrap_or_default().trim();
            let body = match body.strip_prefix('@') {
                Some(rest) => rest
                    .split_once(char::is_whitespace)
                    .map_or("", |(_, rest)| rest),
                None => body,
            };
            let body = body.split_once("= ").map_or(body, |(_, right)| right);
            block.code.extend(operation(body).map(nak_kind));
        }
    }
    for (from, number) in followers {
        let to = numbers.iter().position(|other| *other == number);
        blocks[from].next.extend(to);
    }
    blocks
}

fn nak_kind(operation: &str) -> Kind {
    let begins = |prefixes: &[&str]| prefixes.iter().any(|prefix| operation.starts_with(prefix));
    let first = operation.split('.').next().unwrap_or_default();
    match first {
        "ffma" | "hfma2" => Kind::MultiplyAdd,
        "mov" | "swap" => Kind::Move,
        _ if begins(&["lds", "ld.shared"]) => Kind::Shared,
        "ld" | "st" | "ldc" | "sts" => Kind::Memory,
        "bra" | "bsync" | "bssy" | "bclear" | "sync" | "warpsync" | "break" | "exit" => {
            Kind::Branch
        }
        "bar" | "membar" | "nop" => Kind::Wait,
        _ => Kind::Vector,
    }
}
