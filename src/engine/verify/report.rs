//! What a verification found.

use std::collections::BTreeSet;
use std::fmt;

use crate::Shape;
use crate::table::table;

/// What [`Gpu::verify`](crate::Gpu::verify) found: each result of a model's kernels, held against
/// the CPU reference. Displays as a table, which belongs into a report of a defect as it is.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct VerifyReport {
    /// The adapter by name, back end and driver.
    pub adapter: String,
    /// The examples that every kernel had.
    pub batch: usize,
    /// A check for every result, in the order of the model.
    pub checks: Vec<Check>,
}

/// One result of one or more kernels, compared with the CPU reference's in `f64`.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Check {
    /// The layer as in error messages, with the activation that is part of its kernel; or the loss
    /// or the optimizer.
    pub layer: String,
    /// Further layers whose kernels, sizes and constants are the very same, and which this check
    /// stands for.
    pub repeats: usize,
    /// What was compared: `output`, `weight gradient`, `loss` ...
    pub result: String,
    /// The kernels that computed it, in their order.
    pub kernel: String,
    /// The shape of the result; of an optimizer, the parameters it updates.
    pub shape: Shape,
    /// The largest error, in units of the tolerance: above 1, it failed.
    pub worst: f64,
    /// Whether the result on small whole numbers had to be, and the whole comparison was, without
    /// any rounding allowed.
    pub exact: bool,
    /// Whether it agreed.
    pub passed: bool,
    /// What was wrong, where it did not agree.
    pub reason: Option<String>,
    /// Numbers that tell the kernels apart by their constants, params and grids.
    pub(super) runs: Vec<usize>,
}

impl VerifyReport {
    /// Whether every check passed.
    pub fn passed(&self) -> bool {
        self.failed().next().is_none()
    }

    /// The checks that did not pass.
    pub fn failed(&self) -> impl Iterator<Item = &Check> {
        self.checks.iter().filter(|check| !check.passed)
    }

    /// The kernels that were checked, each counted once for every set of constants, sizes and grid
    /// that the model runs it with.
    pub fn kernels(&self) -> usize {
        distinct(self.checks.iter())
    }

    /// Those of them that had a part in a wrong result, or were not checked at all.
    pub fn failed_kernels(&self) -> usize {
        distinct(self.failed())
    }
}

fn distinct<'a>(checks: impl Iterator<Item = &'a Check>) -> usize {
    checks
        .flat_map(|check| &check.runs)
        .collect::<BTreeSet<_>>()
        .len()
}

impl fmt::Display for VerifyReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}, batch {}", self.adapter, self.batch)?;
        let heads = ["layer", "result", "shape", "error", "integers", "kernels"];
        let mut rows = vec![heads.map(String::from).to_vec()];
        rows.extend(self.checks.iter().map(Check::cells));
        table(f, heads.len(), &rows)?;
        for check in self.failed() {
            let reason = check.reason.as_deref().unwrap_or("wrong");
            writeln!(f, "FAILED {}, {}: {reason}", check.layer, check.result)?;
        }
        let units = "errors are in units of the tolerance; integers must agree to the last bit";
        let (kernels, failed) = (self.kernels(), self.failed_kernels());
        write!(f, "{units}\n{kernels} kernels, {failed} failed")
    }
}

impl Check {
    fn cells(&self) -> Vec<String> {
        let more = match self.repeats {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let failed = if self.passed { "" } else { " FAILED" };
        let error = match self.worst {
            worst if worst < 1000.0 => format!("{worst:.3}{failed}"),
            worst => format!("{worst:.0e}{failed}"),
        };
        let (layer, shape) = (format!("{}{more}", self.layer), self.shape.to_string());
        let exact = if self.exact { "exact" } else { "-" }.into();
        vec![
            layer,
            self.result.clone(),
            shape,
            error,
            exact,
            self.kernel.clone(),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_aligned_and_ends_in_a_summary() {
        let check = |layer: &str, passed, runs: &[usize]| Check {
            layer: layer.into(),
            repeats: 1,
            result: "output".into(),
            kernel: "conv2d_forward".into(),
            shape: [2, 3].into(),
            worst: if passed { 0.25 } else { f64::INFINITY },
            exact: true,
            passed,
            reason: (!passed).then(|| "[1]: got 2, expected 3".into()),
            runs: runs.to_vec(),
        };
        let checks = vec![
            check("layer 0", true, &[0, 1]),
            check("layer 10", false, &[1, 2]),
        ];
        let report = VerifyReport {
            adapter: "none".into(),
            batch: 2,
            checks,
        };
        let text = report.to_string();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines[2],
            "layer 0 and 1 more   output  [2, 3]  0.250       exact     conv2d_forward"
        );
        assert_eq!(
            lines[3],
            "layer 10 and 1 more  output  [2, 3]  inf FAILED  exact     conv2d_forward"
        );
        assert_eq!(lines[4], "FAILED layer 10, output: [1]: got 2, expected 3");
        assert_eq!(*lines.last().unwrap(), "3 kernels, 2 failed");
        assert!(!report.passed());
    }
}
