//! The losses against values computed by hand, and by PyTorch.

use super::*;
use crate::Shape;
use approx::assert_abs_diff_eq;

fn run(loss: impl Into<Loss>, classes: usize, output: &[f64], target: &Target) -> (f64, Vec<f64>) {
    let loss = loss.into();
    let geometry = loss
        .geometry(output.len() / classes, &Shape::from([classes]))
        .unwrap();
    let normaliser = loss.normaliser(target, &geometry);
    let mut gradient = vec![f64::NAN; output.len()];
    let value = loss_forward_backward(&loss, &geometry, normaliser, output, target, &mut gradient);
    (value.unwrap(), gradient)
}

#[test]
fn cross_entropy_equals_values_computed_by_hand() {
    // softmax(0, ln 3) = (1/4, 3/4)
    let output = [0.0, 3.0f64.ln(), 0.0, 0.0];
    let labels = Target::Labels(vec![0, 1]);
    let (loss, gradient) = run(Loss::cross_entropy(), 2, &output, &labels);
    assert_abs_diff_eq!(loss, (4.0f64.ln() + 2.0f64.ln()) / 2.0, epsilon = 1e-15);
    assert_abs_diff_eq!(gradient[..], [-0.375, 0.375, 0.25, -0.25], epsilon = 1e-15);
    let sum = Loss::cross_entropy().reduction(crate::Reduction::Sum);
    // Probabilities need not sum to 1.
    let probabilities = Target::Values(vec![0.5, 1.0, 0.0, 0.0]);
    let (loss, gradient) = run(sum, 2, &output, &probabilities);
    let expected = 0.5 * 4.0f64.ln() + (4.0f64 / 3.0).ln();
    assert_abs_diff_eq!(loss, expected, epsilon = 1e-15);
    assert_abs_diff_eq!(gradient[..], [-0.125, 0.125, 0.0, 0.0], epsilon = 1e-15);
}

#[test]
fn large_logits_are_finite_and_exact() {
    let output = [1e4, -1e4, 0.0, -1e4, 1e4, 1e4];
    let labels = Target::Labels(vec![1, 2]);
    let (loss, gradient) = run(Loss::cross_entropy(), 3, &output, &labels);
    assert_eq!(loss, (2e4 + 2.0f64.ln()) / 2.0);
    assert_abs_diff_eq!(
        gradient[..],
        [0.5, -0.5, 0.0, 0.0, 0.25, -0.25],
        epsilon = 1e-15
    );
    let (_, gradient) = run(
        Loss::cross_entropy(),
        2,
        &[f64::NAN, 1.0],
        &[0u8].as_slice().into(),
    );
    assert!(gradient.iter().all(|g| g.is_nan()));
}

#[test]
fn squared_error_equals_values_computed_by_hand() {
    let target = Target::Values(vec![0.0, 2.0, 1.0, 1.0]);
    let (loss, gradient) = run(
        Loss::mean_squared_error(),
        2,
        &[1.0, 2.0, 4.0, -1.0],
        &target,
    );
    assert_eq!(loss, (1.0 + 0.0 + 9.0 + 4.0) / 4.0);
    assert_eq!(gradient, [0.5, 0.0, 1.5, -1.0]);
    let labels = Target::Labels(vec![0]);
    let loss = Loss::mean_squared_error();
    let geometry = loss.geometry(1, &Shape::from([2])).unwrap();
    let refused = loss_forward_backward(&loss, &geometry, 1.0, &[0.0; 2], &labels, &mut [0.0; 2]);
    assert!(matches!(refused, Err(Error::Argument { .. })));
}

#[test]
fn smoothing_weights_and_ignored_labels_equal_values_computed_by_hand() {
    // softmax(0, ln 3) = (1/4, 3/4)
    let output = [0.0, 3.0f64.ln(), 0.0, 0.0];
    let (quarter, rest) = (4.0f64.ln(), (4.0f64 / 3.0).ln());
    let labels = Target::Labels(vec![0, 1]);
    let smooth = Loss::cross_entropy().label_smoothing(0.2);
    let (loss, gradient) = run(smooth.clone(), 2, &output, &labels);
    let expected = (0.9 * quarter + 0.1 * rest + 2.0f64.ln()) / 2.0;
    assert_abs_diff_eq!(loss, expected, epsilon = 1e-15);
    assert_abs_diff_eq!(gradient[..], [-0.325, 0.325, 0.2, -0.2], epsilon = 1e-15);
    let weighted = smooth.class_weights([3.0, 1.0]);
    let (loss, gradient) = run(weighted.clone(), 2, &output, &labels);
    let row = 0.3 * 2.0f64.ln() + 0.9 * 2.0f64.ln();
    let expected = (2.7 * quarter + 0.1 * rest + row) / 4.0;
    assert_abs_diff_eq!(loss, expected, epsilon = 1e-15);
    let expected = [
        (2.8 * 0.25 - 2.7) / 4.0,
        (2.8 * 0.75 - 0.1) / 4.0,
        0.3 / 4.0,
        -0.3 / 4.0,
    ];
    assert_abs_diff_eq!(gradient[..], expected, epsilon = 1e-15);
    // The second row counts for nothing, also in the normaliser.
    let ignoring = weighted.clone().ignored_label(1);
    let (loss, gradient) = run(ignoring.clone(), 2, &output, &labels);
    assert_abs_diff_eq!(loss, (2.7 * quarter + 0.1 * rest) / 3.0, epsilon = 1e-15);
    let expected = [(2.8 * 0.25 - 2.7) / 3.0, (2.8 * 0.75 - 0.1) / 3.0, 0.0, 0.0];
    assert_abs_diff_eq!(gradient[..], expected, epsilon = 1e-15);
    let (loss, gradient) = run(ignoring, 2, &output, &Target::Labels(vec![1, 1]));
    assert!(loss.is_nan());
    assert_eq!(gradient, [0.0; 4]);
    // Probabilities are mixed with even ones and multiplied by the weights.
    let probabilities = Target::Values(vec![1.0, 0.0, 0.5, 0.5]);
    let (loss, _) = run(weighted, 2, &output, &probabilities);
    let row = (1.5 + 0.5) * 2.0f64.ln();
    assert_abs_diff_eq!(
        loss,
        (2.7 * quarter + 0.1 * rest + row) / 2.0,
        epsilon = 1e-15
    );
}

#[test]
fn binary_cross_entropy_equals_values_computed_by_hand() {
    let sum = Loss::binary_cross_entropy().reduction(crate::Reduction::Sum);
    let target = Target::Values(vec![0.0, 1.0, 0.25, 1.0, 0.0]);
    let output = [0.0, 3.0f64.ln(), 0.0, -1e4, -1e4];
    let (loss, gradient) = run(sum, 5, &output, &target);
    let expected = 2.0 * 2.0f64.ln() + (4.0f64 / 3.0).ln() + 1e4;
    assert_abs_diff_eq!(loss, expected, epsilon = 1e-11);
    assert_abs_diff_eq!(gradient[..], [0.5, -0.25, 0.25, -1.0, 0.0], epsilon = 1e-15);
}

#[test]
fn a_class_at_negative_infinity_costs_nothing_unless_it_is_the_label() {
    let output = [f64::NEG_INFINITY, 0.0, 0.0];
    let (loss, gradient) = run(Loss::cross_entropy(), 3, &output, &Target::from(&[1u8]));
    assert_abs_diff_eq!(loss, 2.0f64.ln(), epsilon = 1e-15);
    assert_eq!(gradient, [0.0, -0.5, 0.5]);
    let (loss, gradient) = run(Loss::cross_entropy(), 3, &output, &Target::from(&[0u8]));
    assert_eq!((loss, gradient), (f64::INFINITY, vec![-1.0, 0.5, 0.5]));
}

#[test]
fn batches_add_up_to_one() {
    let loss = Loss::from(
        Loss::cross_entropy()
            .class_weights([0.5, 2.0])
            .ignored_label(-1),
    );
    let output = [0.3, -0.2, 1.5, 0.1, -0.7, 0.9];
    let labels = Target::from(&[0i64, -1, 1]);
    let (whole, gradient) = run(loss.clone(), 2, &output, &labels);
    let (mut sum, mut normaliser, mut sums) = (0.0, 0.0, [0.0; 6]);
    for (rows, labels) in [
        (0..2, Target::from(&[0i64, -1])),
        (2..3, Target::from(&[1i64])),
    ] {
        let geometry = loss.geometry(rows.len(), &[2].into()).unwrap();
        let range = 2 * rows.start..2 * rows.end;
        let (output, sums) = (&output[range.clone()], &mut sums[range]);
        sum += loss_forward_backward(&loss, &geometry, 1.0, output, &labels, sums).unwrap();
        normaliser += loss.normaliser(&labels, &geometry);
    }
    assert_abs_diff_eq!(sum / normaliser, whole, epsilon = 1e-15);
    let divided = sums.map(|sum| sum / normaliser);
    assert_abs_diff_eq!(divided[..], gradient[..], epsilon = 1e-15);
}

#[test]
fn losses_of_elements_equal_values_computed_by_hand() {
    let sum = |loss: Loss, output: &[f64], target: &[f32]| {
        let loss = loss.reduction(crate::Reduction::Sum);
        run(loss, output.len(), output, &Target::from(target))
    };
    // Differences of 0, 1/4, -1/2, 3.
    let (output, target) = ([1.0, 0.25, -1.5, 2.0], [1.0, 0.0, -1.0, -1.0]);
    let (loss, gradient) = sum(Loss::l1(), &output, &target);
    assert_eq!((loss, gradient), (3.75, vec![0.0, 1.0, -1.0, 1.0]));
    let (loss, gradient) = sum(Loss::smooth_l1(0.5), &output, &target);
    assert_eq!(loss, 0.0625 + 0.25 + 2.75);
    assert_eq!(gradient, [0.0, 0.5, -1.0, 1.0]);
    let (loss, gradient) = sum(Loss::huber(0.5), &output, &target);
    assert_eq!(loss, 0.03125 + 0.125 + 0.5 * 2.75);
    assert_eq!(gradient, [0.0, 0.25, -0.5, 0.5]);
    assert_eq!(
        sum(Loss::smooth_l1(0.0), &output, &target),
        sum(Loss::l1(), &output, &target)
    );
    let (loss, gradient) = sum(
        Loss::kl_divergence(),
        &[-1.0, -2.0, -3.0],
        &[0.5, 0.0, 0.25],
    );
    let expected = 0.5 * (0.5f64.ln() + 1.0) + 0.25 * (0.25f64.ln() + 3.0);
    assert_abs_diff_eq!(loss, expected, epsilon = 1e-15);
    assert_eq!(gradient, [-0.5, 0.0, -0.25]);
}

#[test]
fn options_out_of_range_are_refused_by_name() {
    let refused = |loss: Loss| loss.geometry(1, &[3].into()).unwrap_err().to_string();
    for beta in [-0.5, f64::NAN, f64::INFINITY, 1e300] {
        assert!(refused(Loss::smooth_l1(beta)).starts_with("smooth l1 beta"));
        assert!(refused(Loss::huber(beta)).starts_with("huber delta"));
        assert!(refused(Loss::dice().smoothing(beta).into()).starts_with("dice smoothing"));
    }
    assert!(refused(Loss::huber(0.0)).starts_with("huber delta"));
    assert!(refused(Loss::dice().smoothing(0.0).into()).starts_with("dice smoothing"));
    let weights = [1.0, f32::NAN, 1.0];
    let named = refused(Loss::nll().class_weights(weights).into());
    assert!(named.starts_with("class weights"), "{named}");
    let named = refused(Loss::binary_cross_entropy().weights([3], weights).into());
    assert!(named.starts_with("weights"), "{named}");
    let scalar = Loss::nll().into();
    assert!(Loss::geometry(&scalar, 4, &Shape::from([])).is_err());
}
