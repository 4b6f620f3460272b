use super::*;

fn rates(schedule: impl Into<Schedule>, base: f64, updates: u64) -> Vec<f64> {
    let schedule = schedule.into();
    (0..updates).map(|at| schedule.rate(base, at)).collect()
}

#[track_caller]
fn close(got: &[f64], expected: &[f64]) {
    assert_eq!(got.len(), expected.len());
    for (got, expected) in got.iter().zip(expected) {
        let most = 1e-14 * expected.abs().max(1e-3);
        assert!((got - expected).abs() <= most, "{got}, not {expected}");
    }
}

#[test]
fn factors_equal_values_by_hand() {
    close(&rates(Schedule::constant(), 2.0, 2), &[2.0, 2.0]);
    close(
        &rates(Schedule::held(0.25, 2), 2.0, 4),
        &[0.5, 0.5, 2.0, 2.0],
    );
    let linear = Schedule::linear(0.5, 1.0, 4);
    close(&rates(linear, 8.0, 6), &[4.0, 5.0, 6.0, 7.0, 8.0, 8.0]);
    let step = Schedule::step(2, 0.5);
    close(&rates(step, 8.0, 5), &[8.0, 8.0, 4.0, 4.0, 2.0]);
    let steps = Schedule::multi_step([3, 1, 3], 0.5);
    close(&rates(steps, 8.0, 4), &[8.0, 4.0, 4.0, 1.0]);
    close(&rates(Schedule::exponential(0.5), 8.0, 3), &[8.0, 4.0, 2.0]);
    let polynomial = Schedule::polynomial(4, 2.0);
    close(
        &rates(polynomial, 16.0, 6),
        &[16.0, 9.0, 4.0, 1.0, 0.0, 0.0],
    );
    let function = Schedule::function(|update| 1.0 / (update as f64 + 1.0));
    close(&rates(function, 6.0, 3), &[6.0, 3.0, 2.0]);
}

#[test]
fn cosines_come_down_and_go_up_or_begin_again() {
    let cosine = Schedule::cosine(2, 1.0);
    let wave = [3.0, 2.0, 1.0, 2.0, 3.0, 2.0, 1.0];
    close(&rates(cosine.clone(), 3.0, 7), &wave);
    close(&[cosine.rate(3.0, u64::MAX)], &[2.0]);
    let restarts = Schedule::warm_restarts(2, 2, 1.0);
    let quarter = std::f64::consts::FRAC_1_SQRT_2;
    let expected = [3.0, 2.0, 3.0, 2.0 + quarter, 2.0, 2.0 - quarter, 3.0];
    close(&rates(restarts, 3.0, 7), &expected);
    let even = Schedule::warm_restarts(2, 1, 1.0);
    close(&rates(even, 3.0, 5), &[3.0, 2.0, 3.0, 2.0, 3.0]);
}

#[test]
fn cycles_equal_values_by_hand() {
    // Up to update 2, down to update 9.
    let cycle = Schedule::one_cycle(10)
        .linear(true)
        .div_factor(4.0)
        .final_div_factor(2.0);
    let expected = [1.0, 2.5, 4.0, 3.5, 3.0, 2.5, 2.0, 1.5, 1.0, 0.5, 0.5];
    close(&rates(cycle, 4.0, 11), &expected);
    let three = cycle.three_phases(true);
    let expected = [1.0, 2.5, 4.0, 2.5, 1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.5];
    close(&rates(three, 4.0, 11), &expected);
    assert_eq!(Schedule::from(cycle.max_rate(8.0)).rate(4.0, 2), 8.0);
    let cyclic = Schedule::cyclic(3.0, 2);
    close(&rates(cyclic, 1.0, 6), &[1.0, 2.0, 3.0, 2.0, 1.0, 2.0]);
    let halved = cyclic.halved().updates_down(1);
    close(&rates(halved, 1.0, 6), &[1.0, 2.0, 3.0, 1.0, 1.5, 2.0]);
    let falling = cyclic.falling(0.5);
    close(&rates(falling, 1.0, 4), &[1.0, 1.5, 1.5, 1.125]);
}

#[test]
fn schedules_put_together_count_as_they_say() {
    let sequence = Schedule::held(0.5, 100).then(2, Schedule::exponential(0.5));
    let sequence = sequence.then(4, Schedule::constant());
    close(&rates(sequence, 8.0, 6), &[4.0, 4.0, 8.0, 4.0, 8.0, 8.0]);
    let chain = Schedule::held(0.5, 2).times(Schedule::exponential(0.5));
    close(&rates(chain, 8.0, 4), &[4.0, 2.0, 2.0, 1.0]);
    let warm = Schedule::step(1, 0.5).warm_up(3);
    close(&rates(warm, 8.0, 6), &[2.0, 4.0, 6.0, 8.0, 4.0, 2.0]);
    let cycle = Schedule::from(Schedule::one_cycle(10).div_factor(4.0)).warm_up(1);
    assert_eq!(cycle.rate(4.0, 0), 0.5);
}

#[test]
fn what_is_out_of_its_domain_is_refused() {
    let nan = f64::NAN;
    let refused: [Schedule; 26] = [
        Schedule::held(0.5, 0),
        Schedule::held(-0.5, 1),
        Schedule::linear(nan, 1.0, 2),
        Schedule::linear(0.5, f64::INFINITY, 2),
        Schedule::linear(0.5, 1.0, 0),
        Schedule::step(0, 0.1),
        Schedule::step(1, -0.1),
        Schedule::multi_step([1], nan),
        Schedule::exponential(1e300),
        Schedule::polynomial(0, 1.0),
        Schedule::polynomial(1, -1.0),
        Schedule::cosine(0, 0.0),
        Schedule::cosine(1, -1.0),
        Schedule::warm_restarts(0, 1, 0.0),
        Schedule::warm_restarts(1, 0, 0.0),
        Schedule::warm_restarts(1, 1, nan),
        Schedule::one_cycle(0).into(),
        Schedule::one_cycle(1).rising(1.5).into(),
        Schedule::one_cycle(1).div_factor(0.0).into(),
        Schedule::one_cycle(1).final_div_factor(nan).into(),
        Schedule::one_cycle(1).max_rate(-1.0).into(),
        Schedule::cyclic(1.0, 0).into(),
        Schedule::cyclic(nan, 1).into(),
        Schedule::cyclic(1.0, 1).falling(-1.0).into(),
        Schedule::constant()
            .then(5, Schedule::constant())
            .then(4, Schedule::constant()),
        Schedule::constant().times(Schedule::step(0, 0.1)),
    ];
    for schedule in refused {
        let refused = schedule.clone().warm_up(1).check();
        assert!(
            matches!(refused, Err(Error::Argument { .. })),
            "{schedule:?}"
        );
        // And gives a number all the same.
        for update in [0, 1, 2, u64::MAX - 1, u64::MAX] {
            let _ = schedule.rate(0.1, update);
        }
    }
    assert!(Schedule::constant().warm_up(0).check().is_err());
    let growing = Schedule::exponential(2.0);
    assert!(growing.check().is_ok() && growing.checked_rate(0.1, 20).is_ok());
    assert!(growing.checked_rate(0.1, 2000).is_err());
    let negative = Schedule::function(|_| -1.0);
    assert!(negative.check().is_ok() && negative.checked_rate(0.1, 0).is_err());
}

#[test]
fn a_schedule_is_told_by_its_numbers() {
    let cosine = |minimum| Schedule::cosine(10, minimum).warm_up(2);
    assert_eq!(cosine(0.1), cosine(0.1));
    assert_ne!(cosine(0.1), cosine(0.2));
    assert_ne!(format!("{:?}", cosine(0.1)), format!("{:?}", cosine(0.2)));
    let function = Schedule::function(|_| 1.0);
    assert_eq!(function, function.clone());
    assert_ne!(function, Schedule::function(|_| 1.0));
}
