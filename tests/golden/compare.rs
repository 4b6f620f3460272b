//! Holding what was computed against what is expected.

use std::collections::BTreeMap;
use std::fmt;

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
    let (mut failed, mut slack_used): (Option<Worst>, Option<Worst>) = (None, None);
    let keep = |worst: &mut Option<Worst>, found: Worst| {
        if worst.as_ref().is_none_or(|worst| found.ratio > worst.ratio) {
            *worst = Some(found);
        }
    };
    for (name, expected) in expected {
        let Some(got) = outputs.0.get(name) else {
            return Err(format!("output {name:?} is missing"));
        };
        if got.len() != expected.array.values.len() {
            let wanted = expected.array.values.len();
            return Err(format!(
                "{name} has {} elements instead of {wanted}",
                got.len()
            ));
        }
        match (got, &expected.array.values) {
            (Values::Integers(got), Values::Integers(wanted)) => {
                let mut pairs = got.iter().zip(wanted).enumerate();
                if let Some((index, (got, wanted))) = pairs.find(|(_, (got, wanted))| got != wanted)
                {
                    let (got, expected) = (got.to_string(), wanted.to_string());
                    let (output, ratio) = (name.clone(), f64::INFINITY);
                    let worst = Worst {
                        output,
                        index,
                        got,
                        expected,
                        tolerance: 0.0,
                        ratio,
                    };
                    keep(&mut failed, worst);
                }
            }
            (Values::Floats(got), Values::Floats(wanted)) => {
                for (index, (&got, &wanted)) in got.iter().zip(wanted).enumerate() {
                    let tolerance = expected.tolerance(wanted.into());
                    let extra = match expected.is_measured() {
                        true => slack * expected.max_abs,
                        false => 0.0,
                    };
                    let worst = |tolerance: f64, ratio: f64| Worst {
                        output: name.clone(),
                        index,
                        got: got.to_string(),
                        expected: wanted.to_string(),
                        tolerance,
                        ratio,
                    };
                    let ratio = off(got, wanted, tolerance + extra);
                    if ratio > 1.0 {
                        keep(&mut failed, worst(tolerance + extra, ratio));
                    } else if off(got, wanted, tolerance) > 1.0 {
                        keep(
                            &mut slack_used,
                            worst(tolerance, off(got, wanted, tolerance)),
                        );
                    }
                }
            }
            _ => return Err(format!("{name} is of another type")),
        }
    }
    match failed {
        Some(worst) => Err(worst.to_string()),
        None => Ok(slack_used),
    }
}

/// How far off a value is in units of the tolerance. Values that are not finite match by kind.
fn off(got: f32, expected: f32, tolerance: f64) -> f64 {
    let matches = match expected.is_finite() {
        true => got.is_finite(),
        false => got == expected || got.is_nan() && expected.is_nan(),
    };
    let difference = (f64::from(got) - f64::from(expected)).abs();
    match (matches, expected.is_finite()) {
        (false, _) => f64::INFINITY,
        (true, false) => 0.0,
        (true, true) if difference == 0.0 => 0.0,
        (true, true) => difference / tolerance,
    }
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
