//! A profile as text.

use std::fmt;
use std::time::Duration;

use super::profile::{Profile, ProfileEntry};
use crate::table::table;

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (adapter, batch, clock) = (&self.adapter, self.batch, self.clock);
        writeln!(f, "{adapter}, batch {batch}, timed by {clock}")?;
        writeln!(f, "peaks: {}\n", self.peaks)?;
        let total = self.total();
        let (sums, entries) = (self.by_kernel(), &self.entries);
        let cells = |(first, entry): (String, &ProfileEntry)| self.cells(first, entry, &total);
        let head = |first: &str| {
            let rest = [
                "kernel", "time", "share", "GFLOP/s", "of peak", "GB/s", "of peak",
            ];
            [first].into_iter().chain(rest).map(String::from).collect()
        };
        let mut rows: Vec<Vec<String>> = vec![head("layer")];
        rows.extend(
            entries
                .iter()
                .map(|entry| cells((entry.layer.clone(), entry))),
        );
        rows.push(vec![]);
        rows.push(head("runs"));
        rows.extend(sums.iter().map(|sum| cells((sum.runs.to_string(), sum))));
        rows.push(cells((total.runs.to_string(), &total)));
        table(f, 2, &rows)?;
        let (runs, barriers) = (total.runs, self.barriers);
        let dispatches = match runs {
            1 => "1 dispatch".into(),
            _ => format!("{runs} dispatches"),
        };
        write!(f, "\n{dispatches}, {barriers} of them behind a barrier")?;
        let fast: Vec<_> = sums.iter().filter(|sum| is_fast(sum)).collect();
        if total.direct_flops > 0 {
            let time = fast.iter().map(|sum| sum.time).sum::<Duration>();
            let rate = total.direct_flops as f64 / time.as_nanos().max(1) as f64;
            let made = fast.iter().map(|sum| sum.flops).sum::<u64>() as f64 * 1e-9;
            let direct = total.direct_flops as f64 * 1e-9;
            writeln!(
                f,
                "\nfast algorithms take {made:.2} GFLOP for {direct:.2} of direct sums: \
                 {rate:.1} direct GFLOP/s, their transforms counted"
            )?;
        }
        let kernels = milliseconds(total.time);
        match self.step {
            Some(step) => {
                let share = percent(total.time.as_secs_f64() / step.as_secs_f64());
                let step = milliseconds(step);
                write!(
                    f,
                    "\nan ordinary step takes {step}, its kernels one by one {kernels} ({share})"
                )
            }
            None => write!(f, "\nthe kernels one by one take {kernels}"),
        }
    }
}

impl Profile {
    fn cells(&self, first: String, entry: &ProfileEntry, total: &ProfileEntry) -> Vec<String> {
        let kernel = match entry.runs {
            _ if entry.layer.is_empty() => entry.kernel.to_string(),
            1 => entry.kernel.to_string(),
            runs => format!("{} x {runs}", entry.kernel),
        };
        let mut cells = vec![first, kernel, milliseconds(entry.time)];
        cells.push(percent(entry.time.as_secs_f64() / total.time.as_secs_f64()));
        if entry.flops > 0 {
            cells.push(format!("{:.1}", entry.gflops()));
            cells.push(percent(entry.share_of_arithmetic(&self.peaks)));
        } else {
            cells.extend(["-".into(), "-".into()]);
        }
        cells.push(format!("{:.2}", entry.gigabytes_per_second()));
        cells.push(percent(entry.share_of_bandwidth(&self.peaks)));
        cells
    }
}

/// Whether a kernel is part of a fast algorithm: Winograd's, or Fourier transforms.
fn is_fast(entry: &ProfileEntry) -> bool {
    let names = ["conv2d_winograd", "conv2d_fft"];
    names.iter().any(|name| entry.kernel.starts_with(name))
}

fn milliseconds(time: Duration) -> String {
    format!("{:.3} ms", time.as_secs_f64() * 1e3)
}

fn percent(share: f64) -> String {
    match share.is_finite() {
        true => format!("{:.1} %", share * 100.0),
        false => "-".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::{Clock, Peaks};

    fn profile() -> Profile {
        let entry = |layer: &str, kernel, runs, microseconds, flops, bytes| ProfileEntry {
            layer: layer.into(),
            kernel,
            runs,
            time: Duration::from_micros(microseconds),
            flops,
            direct_flops: 0,
            bytes,
        };
        Profile {
            adapter: "none".into(),
            batch: 4,
            clock: Clock::Wall,
            peaks: Peaks {
                gflops: 100.0,
                gigabytes_per_second: 20.0,
            },
            entries: vec![
                entry(
                    "layer 0 (conv2d)",
                    "conv2d_forward",
                    1,
                    2000,
                    50_000_000,
                    40_000,
                ),
                entry(
                    "layer 1 (max_pool2d)",
                    "pool2d_max_forward",
                    1,
                    500,
                    0,
                    5_000_000,
                ),
                entry(
                    "layer 2 (conv2d)",
                    "conv2d_forward",
                    2,
                    1500,
                    20_000_000,
                    30_000,
                ),
                entry("layer 3 (relu)", "activation_forward", 1, 0, 0, 400),
            ],
            barriers: 4,
            step: Some(Duration::from_millis(5)),
            steps: 11,
        }
    }

    #[test]
    fn the_table_is_aligned_and_sums_up_by_kernel() {
        let text = profile().to_string();
        let expected = "\
none, batch 4, timed by wall clock
peaks: 100.0 GFLOP/s, 20.0 GB/s

layer                 kernel                  time    share  GFLOP/s  of peak   GB/s  of peak
layer 0 (conv2d)      conv2d_forward      2.000 ms   50.0 %     25.0   25.0 %   0.02    0.1 %
layer 1 (max_pool2d)  pool2d_max_forward  0.500 ms   12.5 %        -        -  10.00   50.0 %
layer 2 (conv2d)      conv2d_forward x 2  1.500 ms   37.5 %     13.3   13.3 %   0.02    0.1 %
layer 3 (relu)        activation_forward  0.000 ms    0.0 %        -        -   0.00    0.0 %

runs                  kernel                  time    share  GFLOP/s  of peak   GB/s  of peak
3                     conv2d_forward      3.500 ms   87.5 %     20.0   20.0 %   0.02    0.1 %
1                     pool2d_max_forward  0.500 ms   12.5 %        -        -  10.00   50.0 %
1                     activation_forward  0.000 ms    0.0 %        -        -   0.00    0.0 %
5                     all                 4.000 ms  100.0 %     17.5   17.5 %   1.27    6.3 %

5 dispatches, 4 of them behind a barrier
an ordinary step takes 5.000 ms, its kernels one by one 4.000 ms (80.0 %)";
        assert_eq!(text, expected);
    }

    #[test]
    fn what_a_fast_algorithm_saves_is_told_as_what_direct_sums_would_take() {
        let mut profile = profile();
        profile.entries[0].kernel = "conv2d_winograd_product";
        profile.entries[2].kernel = "conv2d_winograd_output";
        (profile.entries[2].flops, profile.entries[2].direct_flops) = (0, 200_000_000);
        let text = profile.to_string();
        let line = "fast algorithms take 0.05 GFLOP for 0.20 of direct sums: \
                    57.1 direct GFLOP/s, their transforms counted";
        assert!(text.lines().any(|other| other == line), "{text}");
    }

    #[test]
    fn without_a_clock_on_the_host_the_kernels_stand_alone() {
        let profile = Profile {
            step: None,
            ..profile()
        };
        let text = profile.to_string();
        assert_eq!(
            text.lines().last(),
            Some("the kernels one by one take 4.000 ms")
        );
    }

    #[test]
    fn nothing_timed_is_no_number() {
        let profile = Profile {
            entries: vec![],
            ..profile()
        };
        assert_eq!(profile.total().gflops(), 0.0);
        let text = profile.to_string();
        assert!(!text.contains("NaN") && !text.contains("inf"), "{text}");
    }
}
