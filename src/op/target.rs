//! What the outputs of a batch should have been.

use std::borrow::Cow;

use super::{Loss, LossGeometry};
use crate::{Error, Result};

/// What the outputs of a batch should have been. `step` takes anything that converts into it: labels
/// of any integer type and values of `f32`, in slices, arrays and vectors, owned or borrowed.
///
/// ```
/// use wgpu_cnn::Target;
/// assert!(matches!(Target::from(&[3u8, 1]), Target::Labels(labels) if labels == [3, 1]));
/// assert!(matches!(Target::from(vec![2i64, -100]), Target::WideLabels(_)));
/// assert!(matches!(Target::from([0.5f32]), Target::Values(_)));
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Target {
    /// A class per example, `(N)`, or per pixel or moment of each, `(N, H, W)` or `(N, L)`.
    Labels(Vec<u32>),
    /// The same where one of them does not fit into 32 bits without a sign: PyTorch's -100, for
    /// example, of rows that count for nothing.
    WideLabels(Vec<i128>),
    /// As many values per example as there are outputs, lying as these do: those that a loss of values
    /// wants, or the probabilities of the classes for the cross-entropy.
    Values(Vec<f32>),
}

macro_rules! target_from {
    ($($integer:ty),*) => {$(
        impl From<&[$integer]> for Target {
            fn from(labels: &[$integer]) -> Self {
                // i128 holds the values of all of them.
                Self::from_labels(labels.iter().map(|&label| label as i128))
            }
        }
        target_from!(@borrowed $integer);
    )*};
    (@borrowed $element:ty) => {
        impl From<&Vec<$element>> for Target {
            fn from(target: &Vec<$element>) -> Self {
                target.as_slice().into()
            }
        }
        impl<const N: usize> From<&[$element; N]> for Target {
            fn from(target: &[$element; N]) -> Self {
                target.as_slice().into()
            }
        }
        impl<const N: usize> From<[$element; N]> for Target {
            fn from(target: [$element; N]) -> Self {
                target.as_slice().into()
            }
        }
    };
    (@owned $($integer:ty),*) => {$(
        impl From<Vec<$integer>> for Target {
            fn from(labels: Vec<$integer>) -> Self {
                labels.as_slice().into()
            }
        }
    )*};
}
target_from!(u8, u16, u32, u64, usize, i8, i16, i32, i64, isize);
target_from!(@borrowed f32);
target_from!(@owned u8, u16, u64, usize, i8, i16, i32, i64, isize);

impl From<&Self> for Target {
    fn from(target: &Self) -> Self {
        target.clone()
    }
}

impl From<&[f32]> for Target {
    fn from(values: &[f32]) -> Self {
        Self::Values(values.to_vec())
    }
}

impl From<Vec<u32>> for Target {
    fn from(labels: Vec<u32>) -> Self {
        Self::Labels(labels)
    }
}

impl From<Vec<f32>> for Target {
    fn from(values: Vec<f32>) -> Self {
        Self::Values(values)
    }
}

impl Target {
    /// The code of a row that counts for nothing. No class has it: a model has fewer outputs.
    pub(crate) const IGNORED: u32 = u32::MAX;

    fn from_labels(labels: impl Iterator<Item = i128> + Clone) -> Self {
        let narrow = labels.clone().map(|label| u32::try_from(label).ok());
        match narrow.collect() {
            Some(labels) => Self::Labels(labels),
            None => Self::WideLabels(labels.collect()),
        }
    }

    /// The labels as they were given; none where the target is values.
    pub(super) fn labels(&self) -> impl Iterator<Item = i128> {
        let (narrow, wide): (&[u32], &[i128]) = match self {
            Self::Labels(labels) => (labels, &[]),
            Self::WideLabels(labels) => (&[], labels),
            Self::Values(_) => (&[], &[]),
        };
        let narrow = narrow.iter().map(|&label| label.into());
        narrow.chain(wide.iter().copied())
    }

    /// Each row's class, or [`IGNORED`](Self::IGNORED), once the target has been checked. None where
    /// it is values.
    pub(crate) fn codes(&self, loss: &Loss) -> Cow<'_, [u32]> {
        let ignored = loss.ignored_label();
        let stay = ignored.is_none_or(|ignored| u32::try_from(ignored).is_err());
        if let (Self::Labels(labels), true) = (self, stay) {
            return labels.into();
        }
        let code = |label| match Some(label) == ignored {
            true => Self::IGNORED,
            false => u32::try_from(label).unwrap_or(Self::IGNORED),
        };
        self.labels().map(code).collect()
    }

    /// Refuses a target that does not fit the loss and a batch of outputs of these extents.
    pub(crate) fn check(&self, loss: &Loss, geometry: &LossGeometry) -> Result<()> {
        let (rows, classes, outputs) = (geometry.rows, geometry.classes, geometry.outputs());
        if let Self::Values(values) = self {
            if !loss.takes_values() {
                let reason = "this loss takes labels, not values";
                return Err(Error::argument("target", reason));
            }
            return match rows.checked_mul(outputs) == Some(values.len()) {
                true => Ok(()),
                false => {
                    let expected = format!("{rows} rows of {outputs} values");
                    Err(Error::shape("target", expected, values.len()))
                }
            };
        }
        if !loss.takes_labels() {
            let reason = "this loss takes values, not labels";
            return Err(Error::argument("target", reason));
        }
        let labels = self.labels().count();
        if rows.checked_mul(geometry.plane) != Some(labels) {
            let expected = match geometry.plane {
                1 => format!("{rows} labels"),
                plane => format!("{plane} labels for each of {rows} examples"),
            };
            return Err(Error::shape("labels", expected, labels));
        }
        let ignored = loss.ignored_label();
        let fits = |label| (0..classes as i128).contains(&label) || Some(label) == ignored;
        match self.labels().enumerate().find(|&(_, label)| !fits(label)) {
            Some((at, label)) => Err(Error::argument(
                format!("labels[{at}]"),
                format!("class {label} of {classes}"),
            )),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(target: impl Into<Target>, ignored: Option<i64>) -> Result<()> {
        let (target, mut loss) = (target.into(), Loss::cross_entropy());
        loss.ignored_label = ignored;
        let loss = Loss::from(loss);
        target.check(&loss, &loss.geometry(4, &[3].into()).unwrap())
    }

    #[test]
    fn a_label_is_ignored_only_where_it_equals_the_ignored_one() {
        let refused = |target: Target, ignored, at: usize, label: &str| {
            let error = check(target, ignored).unwrap_err().to_string();
            assert_eq!(error, format!("labels[{at}]: class {label} of 3"));
        };
        for ignored in [None, Some(-1), Some(-100), Some(i64::MIN), Some(i64::MAX)] {
            refused([0u8, 1, 2, 255].into(), ignored, 3, "255");
            refused([0u16, 1, 65_535, 3].into(), ignored, 2, "65535");
            refused([0, u32::MAX, 2, 2].into(), ignored, 1, "4294967295");
            let label = "18446744073709551615";
            refused([u64::MAX, 1, 2, 2].into(), ignored, 0, label);
            refused([0, usize::MAX, 1, 2].into(), ignored, 1, label);
            refused(
                [0, 1, 1u64 << 63, 2].into(),
                ignored,
                2,
                "9223372036854775808",
            );
            refused([0, 1, 1i64 << 40, 2].into(), ignored, 2, "1099511627776");
            refused([0, 1, 2, (1i64 << 32) - 2].into(), ignored, 3, "4294967294");
            refused([0i8, 1, 2, -128].into(), ignored, 3, "-128");
            refused([0i16, 1, 2, -2].into(), ignored, 3, "-2");
            refused([0, 1, i32::MIN, 2].into(), ignored, 2, "-2147483648");
            refused(
                [0, i64::MIN + 1, 1, 2].into(),
                ignored,
                1,
                "-9223372036854775807",
            );
        }
        refused(
            [0i64, 1, 1 << 40, i64::MIN].into(),
            Some(-1),
            2,
            "1099511627776",
        );
        refused([0i64, -1, 1, 2].into(), None, 1, "-1");
        refused([0i64, -1, 1, 2].into(), Some(u32::MAX.into()), 1, "-1");
        refused([0i64, -1, 1, 2].into(), Some(255), 1, "-1");
        refused([0isize, -1, 3, 2].into(), Some(-1), 2, "3");
    }

    #[test]
    fn any_number_can_be_the_ignored_label_in_every_type_that_holds_it() {
        for ignored in [
            i64::MIN,
            -(1 << 32) - 1,
            -129,
            -100,
            -1,
            0,
            2,
            3,
            255,
            1 << 40,
            i64::MAX,
        ] {
            macro_rules! hold {
                ($($integer:ty),*) => {$(
                    if let Ok(label) = <$integer>::try_from(i128::from(ignored)) {
                        let labels = [1, label, 1, label];
                        let target = Target::from(labels);
                        let loss = Loss::from(Loss::cross_entropy().ignored_label(ignored));
                        let geometry = loss.geometry(4, &[3].into()).unwrap();
                        assert_eq!(target.check(&loss, &geometry), Ok(()), "{ignored}");
                        let codes = [1, Target::IGNORED, 1, Target::IGNORED];
                        assert_eq!(target.codes(&loss)[..], codes, "{ignored}");
                        assert_eq!(loss.normaliser(&target, &geometry), 2.0, "{ignored}");
                        for same in [
                            Target::from(&labels), (&labels[..]).into(),
                            labels.to_vec().into(), (&labels.to_vec()).into(),
                        ] {
                            assert_eq!(same, target);
                        }
                    }
                )*};
            }
            hold!(u8, u16, u32, u64, usize, i8, i16, i32, i64, isize);
        }
    }
}
