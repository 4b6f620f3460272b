//! The way to a device in tests, and what must be there to be tested.
//!
//! `WGPU_CNN_REQUIRE` lists capabilities: `gpu,subgroups8,f16`. One that is listed and missing is a
//! failure, one that is missing and not listed is a skip, with a line. The first test that asks for
//! a device prints what it runs on. The crate's own tests include this file too.

use std::io::Write;
use std::sync::OnceLock;

use wgpu_cnn::{Error, Gpu, GpuBuilder, wgpu};

/// The variable that says what must be there.
pub const REQUIRE: &str = "WGPU_CNN_REQUIRE";
/// `1` stands for `gpu` in [`REQUIRE`].
pub const REQUIRE_GPU: &str = "WGPU_CNN_REQUIRE_GPU";

/// What a machine may lack.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Capability {
    /// An adapter.
    Gpu,
    /// A software adapter with subgroups of exactly 8: some cores serve no other.
    Subgroups8,
    /// Half precision.
    F16,
}

impl Capability {
    pub const ALL: [Self; 3] = [Self::Gpu, Self::Subgroups8, Self::F16];

    /// Its name in [`REQUIRE`].
    pub fn name(self) -> &'static str {
        match self {
            Self::Gpu => "gpu",
            Self::Subgroups8 => "subgroups8",
            Self::F16 => "f16",
        }
    }

    /// Whether a device that a user makes has it.
    pub fn is_on(self, gpu: &Gpu) -> bool {
        let info = gpu.info();
        match self {
            Self::Gpu => true,
            Self::Subgroups8 => {
                info.device_type == wgpu::DeviceType::Cpu
                    && [info.subgroup_min_size, info.subgroup_max_size] == [8, 8]
                    && gpu.device().features().contains(wgpu::Features::SUBGROUP)
            }
            Self::F16 => gpu.has_half_precision(),
        }
    }
}

/// A device as a user makes it, or none where there is no adapter and none is required.
///
/// # Panics
/// Where something that is required is missing.
pub fn plain() -> Option<&'static Gpu> {
    static PLAIN: OnceLock<Result<Option<Gpu>, String>> = OnceLock::new();
    let plain = PLAIN.get_or_init(|| {
        let list = std::env::var(REQUIRE).unwrap_or_default();
        let gpu = std::env::var(REQUIRE_GPU).is_ok_and(|value| value == "1");
        let (gpu, line) = judge(Gpu::new(), &required(&list, gpu)?)?;
        // Past the test harness, which keeps what a test that passes prints.
        let _ = writeln!(std::io::stderr(), "{line}");
        Ok(gpu)
    });
    let plain = plain.as_ref().unwrap_or_else(|reason| panic!("{reason}"));
    plain.as_ref()
}

/// A device of another kind, where there is the plain one.
///
/// # Panics
/// As [`plain`], and where the adapter that has given the plain one refuses this.
pub fn device(builder: GpuBuilder) -> Option<Gpu> {
    plain()?;
    Some(builder.build().unwrap_or_else(|error| panic!("{error}")))
}

/// The capabilities in a list that is separated by commas.
fn required(list: &str, gpu: bool) -> Result<Vec<Capability>, String> {
    let words = list.split(',').map(str::trim);
    let words = words.chain(gpu.then_some("gpu"));
    let capability = |word: &str| {
        let mut all = Capability::ALL.into_iter();
        all.find(|capability| capability.name() == word)
            .ok_or_else(|| {
                let known = names(&Capability::ALL);
                format!("{REQUIRE} has the unknown word {word:?}; it knows {known}")
            })
    };
    words
        .filter(|word| !word.is_empty())
        .map(capability)
        .collect()
}

/// The device, if there is one, and the line that says what tests run on; or what is missing of what
/// is required.
fn judge(
    gpu: Result<Gpu, Error>,
    required: &[Capability],
) -> Result<(Option<Gpu>, String), String> {
    let (found, on) = match &gpu {
        Ok(gpu) => (found(|capability| capability.is_on(gpu)), describe(gpu)),
        Err(error) => (vec![], error.to_string()),
    };
    let line = verdict(&found, required, &on)?;
    Ok((gpu.ok(), line))
}

fn found(has: impl Fn(Capability) -> bool) -> Vec<Capability> {
    let all = Capability::ALL.into_iter();
    all.filter(|&capability| has(capability)).collect()
}

/// The line, or a failure where something that is required is not among what was found.
fn verdict(found: &[Capability], required: &[Capability], on: &str) -> Result<String, String> {
    let missing = self::found(|capability| !found.contains(&capability));
    let (failed, skipped): (Vec<_>, Vec<_>) = missing
        .iter()
        .partition(|missing| required.contains(missing));
    if !failed.is_empty() {
        let (failed, required) = (names(&failed), names(required));
        return Err(format!(
            "{REQUIRE}={required}, but {failed} is missing: {on}"
        ));
    }
    let required = match required {
        [] => "nothing".into(),
        required => names(required),
    };
    Ok(match (found, &skipped[..]) {
        ([], _) => format!("skipped: {on}"),
        (_, []) => format!("tests run on {on}; required: {required}"),
        (_, skipped) => {
            let skipped = names(skipped);
            format!("tests run on {on}; required: {required}; skipped: {skipped}")
        }
    })
}

fn names(capabilities: &[Capability]) -> String {
    let names: Vec<&str> = capabilities.iter().map(|each| each.name()).collect();
    names.join(",")
}

/// Adapter, back end, driver, subgroups and precision.
fn describe(gpu: &Gpu) -> String {
    let info = gpu.info();
    let backend = info.backend.to_string();
    let mut parts = vec![info.name.clone(), backend];
    parts.push(format!("{} {}", info.driver, info.driver_info));
    parts.push(match [info.subgroup_min_size, info.subgroup_max_size] {
        [least, most] if least == most => format!("subgroups of {least}"),
        [least, most] => format!("subgroups of {least} to {most}"),
    });
    parts.push(match gpu.has_half_precision() {
        true => "f16".into(),
        false => "no f16".into(),
    });
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use Capability::{F16, Gpu as Adapter, Subgroups8};

    #[test]
    fn a_list_names_capabilities_and_nothing_else() {
        assert_eq!(required("", false), Ok(vec![]));
        assert_eq!(required("", true), Ok(vec![Adapter]));
        assert_eq!(required("gpu, f16", false), Ok(vec![Adapter, F16]));
        let all = required("gpu,subgroups8,f16", false);
        assert_eq!(all, Ok(Capability::ALL.into()));
        for list in ["gpu,f61", "GPU", "gpu;f16", "subgroups"] {
            let said = required(list, true).unwrap_err();
            assert!(said.contains("unknown word"), "{said}");
        }
        let said = required("gpu,f61", false).unwrap_err();
        assert!(said.contains("\"f61\"") && said.contains("gpu,subgroups8,f16"));
    }

    #[test]
    fn what_is_required_and_missing_is_a_failure_and_the_rest_is_a_line() {
        let of = |found: &[Capability], required: &[Capability]| verdict(found, required, "it");
        for missing in Capability::ALL {
            let rest = found(|capability| capability != missing);
            let said = of(&rest, &Capability::ALL).unwrap_err();
            assert!(
                said.contains(&format!("but {} is missing: it", missing.name())),
                "{said}"
            );
            assert!(of(&rest, &[missing]).is_err());
            let said = of(&rest, &rest).unwrap();
            assert!(
                said.ends_with(&format!("skipped: {}", missing.name())),
                "{said}"
            );
        }
        assert!(
            of(&[], &Capability::ALL)
                .unwrap_err()
                .contains("gpu,subgroups8,f16 is missing")
        );
        assert_eq!(of(&[], &[]).unwrap(), "skipped: it");
        assert_eq!(
            of(&Capability::ALL, &[Adapter, Subgroups8]).unwrap(),
            "tests run on it; required: gpu,subgroups8"
        );
    }
}
