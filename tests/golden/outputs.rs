//! Holding what was computed against what is expected, output by output.

use std::collections::BTreeMap;
use std::fmt;

use crate::compare::{off, worst};
use crate::format::{Expected, Outputs, Values};

/// The element that is furthest off, in units of its tolerance.
#[derive(Debug, Clone)]
pub struct Worst {
    output: String,
    index: usize,
    got: String,
    expected: String,
    tolerance: f64,
    /// Above 1 it is a failure.
    ratio: f64,
}

impl fmt::Display for Worst {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            output,
            index,
            got,
            expected,
            tolerance,
            ratio,
        } = self;
        write!(
            f,
            "{output}[{index}] is {got}, expected {expected}, tolerance {tolerance:.2e}"
        )?;
        write!(f, " ({ratio:.3} of it)")
    }
}

/// The worse of two.
fn worse(one: Option<Worst>, other: Option<Worst>) -> Option<Worst> {
    match (one, other) {
        (Some(one), Some(other)) if other.ratio > one.ratio => Some(other),
        (one, other) => one.or(other),
    }
}

/// Compares every expected output. `slack` times an output's largest magnitude is added to its
/// derived tolerance; the result is then the element that needed it most, if one did.
///
/// # Errors
/// What is wrong: an output that is missing or of another length, or the worst element.
pub fn compare(
    outputs: &Outputs,
    expected: &BTreeMap<String, Expected>,
    slack: f64,
) -> Result<Option<Worst>, String> {
    let (mut failed, mut slack_used) = (None, None);
    for (name, expected) in expected {
        let got = outputs.0.get(name);
        let got = got.ok_or_else(|| format!("output {name:?} is missing"))?;
        let (len, wanted) = (got.len(), expected.array.values.len());
        if len != wanted {
            return Err(format!("{name} has {len} elements instead of {wanted}"));
        }
        match (got, &expected.array.values) {
            (Values::Integers(got), Values::Integers(wanted)) => {
                let worst = worst(len, |at| match got[at] == wanted[at] {
                    true => 0.0,
                    false => f64::INFINITY,
                });
                let wrong = worst.filter(|worst| worst.off > 1.0).map(|worst| Worst {
                    output: name.clone(),
                    index: worst.at,
                    got: got[worst.at].to_string(),
                    expected: wanted[worst.at].to_string(),
                    tolerance: 0.0,
                    ratio: worst.off,
                });
                failed = worse(failed, wrong);
            }
            (Values::Floats(got), Values::Floats(wanted)) => {
                let (wrong, used) = floats(name, got, wanted, expected, slack);
                failed = worse(failed, wrong);
                slack_used = worse(slack_used, used);
            }
            _ => return Err(format!("{name} is of another type")),
        }
    }
    match failed {
        Some(worst) => Err(worst.to_string()),
        None => Ok(slack_used),
    }
}

/// The worst element of an output that fails with slack, and of those that pass with it alone.
fn floats(
    name: &str,
    got: &[f32],
    wanted: &[f32],
    expected: &Expected,
    slack: f64,
) -> (Option<Worst>, Option<Worst>) {
    let slack = match expected.is_measured() {
        true => slack * expected.max_abs,
        false => 0.0,
    };
    let tolerance = |at: usize, slack: f64| expected.tolerance(wanted[at].into()) + slack;
    let ratio =
        |at: usize, slack: f64| off(got[at].into(), wanted[at].into(), tolerance(at, slack));
    let found = |slack: f64, off: &dyn Fn(usize) -> f64| {
        let worst = worst(got.len(), off).filter(|worst| worst.off > 1.0)?;
        Some(Worst {
            output: name.into(),
            index: worst.at,
            got: got[worst.at].to_string(),
            expected: wanted[worst.at].to_string(),
            tolerance: tolerance(worst.at, slack),
            ratio: worst.off,
        })
    };
    let failed = found(slack, &|at| ratio(at, slack));
    let used = found(0.0, &|at| match ratio(at, slack) > 1.0 {
        true => 0.0, // it fails
        false => ratio(at, 0.0),
    });
    (failed, used)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::{Array, Tolerance};

    const NAN: f32 = f32::NAN;
    const INF: f32 = f32::INFINITY;

    fn floats(values: &[f32]) -> Values {
        Values::Floats(values.to_vec())
    }

    fn outcome(
        got: Values,
        wanted: Values,
        tolerance: Tolerance,
        slack: f64,
    ) -> Result<bool, String> {
        let outputs = Outputs([("y".to_string(), got)].into());
        let array = Array {
            shape: vec![wanted.len()],
            values: wanted,
        };
        let expected = Expected {
            array,
            tolerance,
            max_abs: 2.0,
        };
        compare(&outputs, &[("y".to_string(), expected)].into(), slack).map(|used| used.is_some())
    }

    fn measured(got: &[f32], wanted: &[f32]) -> Result<bool, String> {
        let tolerance = Tolerance::Measured {
            torch_f32_err: 1e-6,
        };
        outcome(floats(got), floats(wanted), tolerance, 0.0)
    }

    #[test]
    fn a_wrong_element_is_named() {
        // 8e-6 + 8e-6 + 1e-7
        assert_eq!(measured(&[1.0, 2.0], &[1.0, 2.000015]), Ok(false));
        let error = measured(&[1.0, 2.0], &[1.00001, 2.00002]).unwrap_err();
        assert!(
            error.starts_with("y[1] is 2, expected 2.00002, tolerance 1.61e-5"),
            "{error}"
        );
        assert!(measured(&[1.0, -2.0], &[1.0, 2.0]).is_err());
        assert!(measured(&[2.0, 1.0], &[1.0, 2.0]).is_err());
    }

    #[test]
    fn values_that_are_not_finite_match_by_kind() {
        assert_eq!(measured(&[NAN, INF, -INF], &[NAN, INF, -INF]), Ok(false));
        for (got, wanted) in [
            (NAN, 1.0),
            (1.0, NAN),
            (INF, NAN),
            (NAN, INF),
            (INF, -INF),
            (1.0, INF),
            (INF, 1.0),
        ] {
            assert!(measured(&[got], &[wanted]).is_err(), "{got} for {wanted}");
        }
    }

    #[test]
    fn a_wrong_index_is_a_failure() {
        let integers = |values: &[i64]| Values::Integers(values.to_vec());
        let exactly = |got: &[i64], wanted: &[i64]| {
            let loose = Tolerance::Stated {
                rtol: 1.0,
                atol: 9.0,
            };
            outcome(integers(got), integers(wanted), loose, 1.0)
        };
        assert_eq!(exactly(&[4, 7], &[4, 7]), Ok(false));
        assert!(
            exactly(&[4, 8], &[4, 7])
                .unwrap_err()
                .starts_with("y[1] is 8, expected 7")
        );
    }

    #[test]
    fn a_missing_or_misshapen_output_is_a_failure() {
        assert!(measured(&[1.0], &[1.0, 2.0]).is_err());
        assert!(measured(&[1.0, 2.0, 3.0], &[1.0, 2.0]).is_err());
        let array = Array {
            shape: vec![1],
            values: floats(&[1.0]),
        };
        let tolerance = Tolerance::Stated {
            rtol: 0.0,
            atol: 0.0,
        };
        let expected = Expected {
            array,
            tolerance,
            max_abs: 1.0,
        };
        let missing = compare(
            &Outputs::default(),
            &[("gw".to_string(), expected)].into(),
            0.0,
        );
        assert_eq!(missing.unwrap_err(), "output \"gw\" is missing");
        let stated = Tolerance::Stated {
            rtol: 0.0,
            atol: 0.0,
        };
        assert!(outcome(Values::Integers(vec![1]), floats(&[1.0]), stated, 0.0).is_err());
    }

    #[test]
    fn a_stated_tolerance_takes_the_place_of_the_derived_one() {
        let stated = |got: f32, wanted: f32| {
            let tolerance = Tolerance::Stated {
                rtol: 0.01,
                atol: 0.5,
            };
            outcome(floats(&[got]), floats(&[wanted]), tolerance, 1.0)
        };
        assert_eq!(stated(101.4, 100.0), Ok(false));
        assert!(stated(101.6, 100.0).is_err());
        assert!(stated(-0.6, 0.0).is_err());
    }

    #[test]
    fn the_use_of_slack_is_told() {
        let with_slack = |got: f32| {
            let tolerance = Tolerance::Measured { torch_f32_err: 0.0 };
            outcome(floats(&[got]), floats(&[1.0]), tolerance, 2e-5)
        };
        assert_eq!(with_slack(1.000005), Ok(false));
        assert_eq!(with_slack(1.00003), Ok(true));
        assert!(with_slack(1.00006).is_err());
    }
}
