//! The comparison of a kernel's result with what it should be.

use super::data::Fill;

/// A result as it should be, and how far a kernel may be from it.
#[derive(Debug, Clone)]
pub(super) struct Expected {
    pub values: Vec<f64>,
    /// The largest error of each value; 0 demands equality.
    pub tolerances: Vec<f64>,
    pub fill: Fill,
    /// Values that must not be zero for the comparison to mean anything.
    pub needed: usize,
}

/// What came of comparing.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Verdict {
    /// The largest error in units of the tolerance.
    pub worst: f64,
    /// Whether equality was demanded on whole numbers.
    pub exact: bool,
    /// Whether the data were fit to show an error.
    pub trusted: bool,
    /// What is wrong.
    pub reason: Option<String>,
}

/// The share of values that must not be zero: 1 in so many, and at least one.
const NON_ZERO: usize = 50;

impl Expected {
    /// `base` is the number of values that can be other than zero.
    pub fn new(values: Vec<f64>, tolerances: Vec<f64>, fill: Fill, base: usize) -> Self {
        let needed = (base / NON_ZERO).max(1);
        Self {
            values,
            tolerances,
            fill,
            needed,
        }
    }

    /// Positions, which must be equal.
    pub fn indices(indices: &[u32]) -> Self {
        let values: Vec<f64> = indices.iter().map(|&index| index.into()).collect();
        Self {
            tolerances: vec![0.0; values.len()],
            values,
            fill: Fill::Integers,
            needed: 0,
        }
    }

    /// Compares what a kernel computed.
    pub fn judge(&self, got: &[f64]) -> Verdict {
        let error = |at: usize| -> f64 {
            let (got, expected) = (got[at], self.values[at]);
            if !got.is_finite() || !expected.is_finite() {
                f64::INFINITY // the data are finite, and so are all results
            } else if got == expected {
                0.0
            } else {
                (got - expected).abs() / self.tolerances[at]
            }
        };
        let non_zero = self.values.iter().filter(|&&value| value != 0.0).count();
        let verdict = Verdict {
            exact: self.fill == Fill::Integers && self.tolerances.iter().all(|&t| t == 0.0),
            trusted: non_zero >= self.needed,
            ..Verdict::none()
        };
        if got.len() != self.values.len() || got.is_empty() {
            return verdict.wrong(format!("{} values of {}", got.len(), self.values.len()));
        }
        let errors = (0..got.len()).map(|at| (at, error(at)));
        let (at, worst) = errors
            .max_by(|a, b| a.1.total_cmp(&b.1))
            .unwrap_or((0, 0.0));
        if worst > 1.0 {
            let wrong = (0..got.len()).filter(|&at| error(at) > 1.0).count();
            let reason = format!(
                "{wrong} of {} values, worst [{at}]: got {:e}, expected {:e} within {:e}",
                got.len(),
                got[at],
                self.values[at],
                self.tolerances[at]
            );
            let reason = Some(reason);
            return Verdict {
                worst,
                reason,
                ..verdict
            };
        }
        match verdict.trusted {
            true => Verdict { worst, ..verdict },
            false => verdict.wrong("too few results are other than zero".into()),
        }
    }
}

impl Verdict {
    /// The verdict of a check that nothing has been held against yet.
    pub fn none() -> Self {
        Self {
            worst: 0.0,
            exact: false,
            trusted: true,
            reason: None,
        }
    }

    pub fn wrong(self, reason: String) -> Self {
        Self {
            worst: f64::INFINITY,
            reason: Some(reason),
            ..self
        }
    }

    /// This verdict and another on the same result from other data: what was demanded of either,
    /// and the worse of the errors.
    pub fn and(self, other: Self) -> Self {
        Self {
            worst: self.worst.max(other.worst),
            exact: self.exact || other.exact,
            trusted: self.trusted && other.trusted,
            reason: self.reason.or(other.reason),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A result of 6 rows of 16 values, as it should be and as a kernel gives it.
    fn result() -> (Expected, Vec<f64>) {
        let got: Vec<f64> = (0..96)
            .map(|i| f64::from(i * 37 % 101 - 50) / 8.0)
            .collect();
        let tolerances = got.iter().map(|value| 1e-6 * value.abs()).collect();
        (
            Expected::new(got.clone(), tolerances, Fill::Uniform, 96),
            got,
        )
    }

    fn fails(change: impl FnOnce(&mut Vec<f64>)) -> Verdict {
        let (expected, mut got) = result();
        change(&mut got);
        let verdict = expected.judge(&got);
        assert!(
            verdict.worst > 1.0 && verdict.reason.is_some(),
            "{verdict:?}"
        );
        verdict
    }

    #[test]
    fn what_agrees_within_the_tolerance_passes() {
        let (mut expected, mut got) = result();
        assert_eq!(expected.judge(&got).reason, None);
        got[5] *= 1.0 + f64::from(f32::EPSILON);
        let verdict = expected.judge(&got);
        assert!(verdict.worst > 0.05 && verdict.worst < 0.2 && verdict.reason.is_none());
        expected.tolerances.fill(0.0);
        assert_eq!(expected.judge(&got).worst, f64::INFINITY);
        got[5] = expected.values[5];
        assert_eq!(expected.judge(&got).worst, 0.0);
    }

    #[test]
    fn seeded_faults_are_found() {
        fails(|got| got[17] = 0.01);
        fails(|got| got.swap(3, 4));
        fails(|got| got[80..].fill(0.0)); // a dropped last tile
        fails(|got| got.rotate_left(1)); // a wrong index
        fails(|got| got.rotate_left(16)); // a wrong row
        fails(|got| got.fill(0.0));
        fails(|got| got[95] = f64::INFINITY);
        fails(|got| got.truncate(95));
        fails(|got| got.iter_mut().for_each(|value| *value *= 1.00001));
        let reason = fails(|got| got[40] = f64::NAN).reason.unwrap();
        assert!(
            reason.starts_with("1 of 96 values, worst [40]: got NaN"),
            "{reason}"
        );
    }

    #[test]
    fn results_that_are_nearly_all_zero_or_not_finite_are_mistrusted() {
        let mut values = vec![0.0; 100];
        values[7] = 1.0;
        let got = values.clone();
        let among = |values: &[f64], base| {
            Expected::new(values.to_vec(), vec![0.0; 100], Fill::Integers, base).judge(&got)
        };
        assert!(!among(&values, 100).trusted && among(&values, 100).reason.is_some());
        // A gradient that reaches few places by its nature.
        assert!(among(&values, 4).exact && among(&values, 4).reason.is_none());
        values[7] = f64::NAN;
        assert!(among(&values, 4).reason.is_some());
    }

    #[test]
    fn indices_are_compared_exactly() {
        let judge = |got: &[f64]| Expected::indices(&[3, 0]).judge(got);
        assert_eq!(judge(&[3.0, 0.0]).reason, None);
        let reason = judge(&[3.0, 2.0]).reason.unwrap();
        assert!(reason.starts_with("1 of 2 values, worst [1]: got 2e0, expected 0e0"));
        assert!(judge(&[3.0]).reason.is_some());
        assert!(Expected::indices(&[]).judge(&[]).reason.is_some());
    }

    #[test]
    fn verdicts_on_several_data_keep_the_worst() {
        let good = Verdict {
            worst: 0.5,
            ..Verdict::none()
        };
        let bad = Verdict {
            exact: true,
            ..Verdict::none()
        }
        .wrong("wrong".into());
        let both = good.and(bad);
        assert_eq!((both.worst, both.exact), (f64::INFINITY, true));
        assert_eq!(both.reason.as_deref(), Some("wrong"));
    }
}
