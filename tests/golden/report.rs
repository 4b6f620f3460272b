//! What is printed: a line for each failed case, a table by group, the totals.

use std::collections::BTreeMap;
use std::path::Path;

/// How one case went on one side.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    Passed,
    /// Passed with more than the derived tolerance: the element that needed it most.
    PassedWithSlack(String),
    Failed(String),
    /// There is no GPU.
    NotRun,
}

/// Cases passed and failed.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Count {
    pub passed: usize,
    pub failed: usize,
}

impl Count {
    fn add(&mut self, verdict: &Verdict) {
        match verdict {
            Verdict::Passed | Verdict::PassedWithSlack(_) => self.passed += 1,
            Verdict::Failed(_) => self.failed += 1,
            Verdict::NotRun => {}
        }
    }
}

/// The counts of the CPU and the GPU, by group and in all.
#[derive(Debug, Default)]
pub struct Report {
    groups: Vec<(String, [Count; 2])>,
    pub total: [Count; 2],
    /// How many cases were refused, by the name of what the library does not have.
    refused: BTreeMap<&'static str, usize>,
}

impl Report {
    /// Counts a case, and gives the line to be printed if there is something to say.
    pub fn add(&mut self, group: &str, id: &str, verdicts: &[Verdict; 2]) -> Option<String> {
        let at = self
            .groups
            .iter()
            .position(|(name, _)| name == group)
            .unwrap_or_else(|| {
                self.groups.push((group.into(), Default::default()));
                self.groups.len() - 1
            });
        let (mut failed, mut slack) = (Vec::new(), Vec::new());
        for (side, verdict) in verdicts.iter().enumerate() {
            self.groups[at].1[side].add(verdict);
            self.total[side].add(verdict);
            let name = ["cpu", "gpu"][side];
            match verdict {
                Verdict::Failed(reason) => failed.push(format!("{name}: {reason}")),
                Verdict::PassedWithSlack(worst) => slack.push(format!("{name}: {worst}")),
                Verdict::Passed | Verdict::NotRun => {}
            }
        }
        match (failed.is_empty(), slack.is_empty()) {
            (false, _) => Some(format!("FAILED {id} {}", failed.join("; "))),
            (true, false) => {
                let slack = slack.join("; ");
                Some(format!(
                    "passed {id} with the driver's exp, log or tanh: {slack}"
                ))
            }
            (true, true) => None,
        }
    }

    /// Counts a case that asks for what the library does not have.
    pub fn refuse(&mut self, name: &'static str) {
        *self.refused.entry(name).or_default() += 1;
    }

    pub fn print(&self, folder: &Path) {
        println!(
            "{:<20} {:>10} {:>10} {:>10} {:>10}",
            "group", "cpu passed", "failed", "gpu passed", "failed"
        );
        let total = [("total".to_string(), self.total)];
        for (group, [cpu, gpu]) in self.groups.iter().chain(&total) {
            let [a, b, c, d] = [cpu.passed, cpu.failed, gpu.passed, gpu.failed];
            println!("{group:<20} {a:>10} {b:>10} {c:>10} {d:>10}");
        }
        println!("{}", self.last_line(folder));
    }

    fn last_line(&self, folder: &Path) -> String {
        let [cpu, gpu] = self.total;
        let mut line = format!(
            "golden: cpu {} passed {} failed; gpu {} passed {} failed ({})",
            cpu.passed,
            cpu.failed,
            gpu.passed,
            gpu.failed,
            folder.display()
        );
        if !self.refused.is_empty() {
            let names: Vec<_> = self.refused.keys().copied().collect();
            let count: usize = self.refused.values().sum();
            line += &format!("; {count} refused: {}", names.join(", "));
        }
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_case_is_counted_on_each_side() {
        let mut report = Report::default();
        let failed = || Verdict::Failed("y[0] is 1, expected 2".into());
        let used = Verdict::PassedWithSlack("y[0]".into());
        let line = report.add("conv2d", "a", &[Verdict::Passed, used]);
        assert_eq!(
            line.unwrap(),
            "passed a with the driver's exp, log or tanh: gpu: y[0]"
        );
        let line = report.add("loss", "b", &[failed(), Verdict::Passed]);
        assert_eq!(line.unwrap(), "FAILED b cpu: y[0] is 1, expected 2");
        let line = report.add("conv2d", "c", &[failed(), failed()]);
        assert!(line.unwrap().ends_with("; gpu: y[0] is 1, expected 2"));
        assert_eq!(
            report.add("conv2d", "d", &[Verdict::Passed, Verdict::NotRun]),
            None
        );
        let count = |passed, failed| Count { passed, failed };
        assert_eq!(report.groups[0].1, [count(2, 1), count(1, 1)]);
        assert_eq!(report.groups[1].1, [count(0, 1), count(1, 0)]);
        let last = "golden: cpu 2 passed 2 failed; gpu 2 passed 1 failed (some/folder)";
        assert_eq!(report.last_line(Path::new("some/folder")), last);
        for name in ["schedule", "3d", "schedule"] {
            report.refuse(name);
        }
        let with_refused = format!("{last}; 3 refused: 3d, schedule");
        assert_eq!(report.last_line(Path::new("some/folder")), with_refused);
    }
}
