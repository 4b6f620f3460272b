//! The comparator, of the verifier and of every test: how far a value is off in units of its tolerance,
//! which element is furthest off, and whether the values are fit to show an error at all.

use super::data::Fill;

/// How far a value is off in units of the tolerance; above 1 is a failure. Values that are not finite
/// match by kind.
pub fn off(got: f64, expected: f64, tolerance: f64) -> f64 {
    if got == expected || got.is_nan() && expected.is_nan() {
        return 0.0;
    }
    let off = (got - expected).abs() / tolerance;
    match got.is_finite() && expected.is_finite() && !off.is_nan() {
        true => off,
        false => f64::INFINITY,
    }
}

/// The element that is furthest off.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Worst {
    /// Its place.
    pub at: usize,
    /// In units of its tolerance.
    pub off: f64,
    /// How many elements are off by more than their tolerance.
    pub wrong: usize,
}

/// The worst of `len` elements, the first of several, by how far each is off.
pub fn worst(len: usize, off: impl Fn(usize) -> f64) -> Option<Worst> {
    let mut worst: Option<Worst> = None;
    let mut wrong = 0;
    for at in 0..len {
        let off = off(at);
        wrong += usize::from(off > 1.0);
        if worst.is_none_or(|worst| off > worst.off) {
            worst = Some(Worst { at, off, wrong });
        }
    }
    worst.map(|worst| Worst { wrong, ..worst })
}

/// Refuses a comparison in which less than a share of the expected values counts, at least one.
pub fn meaningful(counts: impl ExactSizeIterator<Item = bool>, share: f64) -> Result<(), String> {
    let len = counts.len();
    let count = counts.filter(|&counts| counts).count();
    let needed = (len as f64 * share).ceil().max(1.0) as usize;
    if count >= needed {
        return Ok(());
    }
    Err(format!(
        "only {count} of {len} expected values are not zero: this proves nothing"
    ))
}

/// A result as it should be, and how far a kernel may be from it.
#[derive(Debug, Clone)]
pub(super) struct Expected {
    pub values: Vec<f64>,
    /// The largest error of each value; 0 demands equality.
    pub tolerances: Vec<f64>,
    pub fill: Fill,
    /// Values that must not be zero for the comparison to mean anything.
    pub needed: usize,
    /// Whether these are positions, whole words.
    pub positions: bool,
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
            positions: false,
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
            positions: true,
        }
    }

    /// Compares what a kernel computed.
    pub fn judge(&self, got: &[f64]) -> Verdict {
        let error = |at: usize| match self.values[at].is_finite() && got[at].is_finite() {
            true => off(got[at], self.values[at], self.tolerances[at]),
            false => f64::INFINITY, // the data are finite, and so are all results
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
        let Some(Worst { at, off, wrong }) = worst(got.len(), error) else {
            return verdict;
        };
        let verdict = Verdict {
            worst: off,
            ..verdict
        };
        if off > 1.0 {
            let (got, expected, within) = (got[at], self.values[at], self.tolerances[at]);
            let values = self.values.len();
            let reason = format!(
                "{wrong} of {values} values, worst [{at}]: got {got:e}, expected {expected:e} within {within:e}"
            );
            return Verdict {
                reason: Some(reason),
                ..verdict
            };
        }
        match verdict.trusted {
            true => verdict,
            // Some results are 0 by their nature, as those of one class.
            false if non_zero == 0 => verdict,
            false => verdict.wrong(TOO_FEW.into()),
        }
    }
}

/// What is wrong with data that can show no error.
const TOO_FEW: &str = "too few results are other than zero";

impl Verdict {
    /// Whether other data may show more.
    pub fn is_undecided(&self) -> bool {
        let agrees = self
            .reason
            .as_deref()
            .is_none_or(|reason| reason == TOO_FEW);
        agrees && !self.trusted
    }

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
