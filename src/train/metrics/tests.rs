use super::*;

const NAN: f32 = f32::NAN;
const INFINITY: f32 = f32::INFINITY;

fn metric_on(
    metric: &mut dyn Metric,
    shape: &[usize],
    values: &[f32],
    target: &Target,
) -> Result<()> {
    let prediction = Prediction::new(&shape.into(), values, Some(target))?;
    metric.update(&prediction.ignored_label(255).into())
}

/// What `torch.argmax` and `torch.sort(descending=True, stable=True)` of PyTorch 2.15 give.
#[test]
fn ties_and_nan_are_ordered_as_by_pytorch() {
    let cases: [(&[f32], &[usize]); 8] = [
        (&[1.0, NAN, 3.0, NAN], &[1, 3, 2, 0]),
        (&[2.0, 2.0, 1.0], &[0, 1, 2]),
        (&[NAN, INFINITY], &[0, 1]),
        (&[INFINITY, NAN], &[1, 0]),
        (&[-INFINITY, -INFINITY], &[0, 1]),
        (&[0.0, -0.0], &[0, 1]),
        (&[-0.0, 0.0, -1.0], &[0, 1, 2]),
        (&[0.1, 0.4, 0.3, 0.4], &[1, 3, 2, 0]),
    ];
    for (numbers, order) in cases {
        assert_eq!(largest(numbers), order[0], "{numbers:?}");
        for label in 0..numbers.len() {
            let place = order.iter().position(|&class| class == label).unwrap();
            for k in 1..=numbers.len() {
                let mut accuracy = Accuracy::top(k);
                let labels = Target::from([label]);
                metric_on(&mut accuracy, &[numbers.len()], numbers, &labels).unwrap();
                let right = u64::from(place < k);
                assert_eq!(accuracy.right(), right, "{numbers:?}, {label} in {k}");
            }
        }
    }
}

/// Two examples of 3 classes at 2 x 2 pixels, and what is predicted there by hand:
/// `[[0, 2], [1, 1]]` and `[[2, 0], [0, 1]]`.
const PIXELS: [f32; 24] = [
    9.0, 1.0, 0.0, -1.0, 1.0, 2.0, 3.0, 0.0, 0.0, 5.0, 1.0, -2.0, //
    1.0, 4.0, 6.0, 0.0, 0.0, 4.0, 5.0, 7.0, 3.0, 3.0, 5.5, 6.5,
];

#[test]
fn pixels_are_counted_by_class_without_the_ignored_ones() {
    let labels = Target::from([0u8, 2, 1, 255, 0, 0, 255, 2]);
    let mut confusion = ConfusionMatrix::new().names(["sky", "road"]);
    metric_on(&mut confusion, &[3, 2, 2], &PIXELS, &labels).unwrap();
    let counts: Vec<u64> = (0..9).map(|at| confusion.count(at / 3, at % 3)).collect();
    assert_eq!(counts, [2, 0, 1, 0, 1, 0, 0, 1, 1]);
    assert_eq!((confusion.counted(), confusion.count(3, 0)), (6, 0));
    assert_eq!(confusion.accuracy(), 4.0 / 6.0);
    // Of class 0 three labels and two predictions, of 1 one and two, of 2 two and two.
    let by_class = |of: fn(&ConfusionMatrix, usize) -> f64| [0, 1, 2].map(|c| of(&confusion, c));
    assert_eq!(by_class(ConfusionMatrix::recall), [2.0 / 3.0, 1.0, 0.5]);
    assert_eq!(by_class(ConfusionMatrix::precision), [1.0, 0.5, 0.5]);
    assert_eq!(by_class(ConfusionMatrix::f1), [0.8, 2.0 / 3.0, 0.5]);
    let iou = by_class(ConfusionMatrix::intersection_over_union);
    assert_eq!(iou, [2.0 / 3.0, 0.5, 1.0 / 3.0]);
    let mean = confusion.mean_intersection_over_union();
    assert!((mean - 0.5).abs() < 1e-15, "{mean}");
    let mut accuracy = Accuracy::new();
    metric_on(&mut accuracy, &[3, 2, 2], &PIXELS, &labels).unwrap();
    assert_eq!((accuracy.right(), accuracy.counted()), (4, 6));
    let text = confusion.to_string();
    let expected = "\
actual     0     1     2    right
0 sky      2     0     1   66.7 %
1 road     0     1     0  100.0 %
2          0     1     1   50.0 %
";
    assert_eq!(text, expected);
}

#[test]
fn a_plane_longer_than_a_block_is_read_in_order() {
    let (classes, plane) = (5, 333);
    let value = |at: usize| ((at * 2654435761) % 1009) as f32;
    let values: Vec<f32> = (0..2 * classes * plane).map(value).collect();
    let mut at = 0;
    let labels = Target::from(vec![0u8; 2 * plane]);
    let shape = [classes, plane].into();
    let prediction = Prediction::new(&shape, &values, Some(&labels)).unwrap();
    let each = |row: &[f32], _| {
        let (example, position) = (at / plane, at % plane);
        let expected = (0..classes).map(|c| values[(example * classes + c) * plane + position]);
        assert_eq!(row, expected.collect::<Vec<_>>(), "{at}");
        at += 1;
    };
    prediction.for_each_position(each).unwrap();
    assert_eq!(at, 2 * plane);
}

/// Of labels [0, 0, 1, 1, 3] and predictions [0, 1, 1, 1, 0] with 5 classes: `sklearn.metrics`.
#[test]
fn classes_that_do_not_occur_are_in_no_mean() {
    let one_hot = |class: usize| (0..5).map(move |c| f32::from(u8::from(c == class)));
    let outputs: Vec<f32> = [0, 1, 1, 1, 0].into_iter().flat_map(one_hot).collect();
    let labels = Target::from([0u8, 0, 1, 1, 3]);
    let mut confusion = ConfusionMatrix::new();
    metric_on(&mut confusion, &[5], &outputs, &labels).unwrap();
    let near = |a: f64, b: f64| assert!((a - b).abs() < 1e-15, "{a} {b}");
    near(confusion.mean_f1(), (0.5 + 0.8 + 0.0) / 3.0); // f1_score, macro
    near(confusion.mean_recall(), (0.5 + 1.0 + 0.0) / 3.0); // balanced_accuracy_score
    near(
        confusion.mean_intersection_over_union(),
        (1.0 / 3.0 + 2.0 / 3.0 + 0.0) / 3.0, // jaccard_score, macro
    );
    assert!(confusion.f1(4).is_nan() && confusion.precision(3).is_nan());
    // Probabilities stand for the largest of them.
    let mut same = ConfusionMatrix::new();
    let targets: Vec<f32> = [0, 0, 1, 1, 3].into_iter().flat_map(one_hot).collect();
    metric_on(&mut same, &[5], &outputs, &Target::from(targets)).unwrap();
    assert_eq!(same, confusion);
    same.reset();
    assert_eq!(same, ConfusionMatrix::new());
    assert!(same.values().iter().all(|(_, value)| value.is_nan()));
}

#[test]
fn errors_of_values_are_means_over_all_batches() {
    let mut errors = MeanErrors::new().of("output");
    for (outputs, targets) in [
        (&[1.0, 2.0, -1.0, 0.5][..], &[0.0, 4.0, -1.0, 0.0][..]),
        (&[3.0, 0.0], &[0.0, 0.5]),
    ] {
        metric_on(&mut errors, &[2], outputs, &Target::from(targets)).unwrap();
    }
    assert_eq!(errors.absolute(), 7.0 / 6.0);
    assert_eq!(errors.squared(), 14.5 / 6.0);
    let names: Vec<String> = errors.values().into_iter().map(|(name, _)| name).collect();
    assert_eq!(
        names,
        ["output mean absolute error", "output mean squared error"]
    );
    metric_on(&mut errors, &[1], &[NAN], &Target::from([0.0])).unwrap();
    assert!(errors.absolute().is_nan());
}

#[test]
fn an_output_by_itself_is_right_on_its_side_of_the_threshold() {
    let mut binary = Accuracy::above(0.0);
    let (outputs, targets) = ([0.5, -0.5, 0.0, NAN, 3.0], [1.0, 1.0, 0.0, 0.0, 0.25]);
    metric_on(&mut binary, &[1], &outputs, &Target::from(targets)).unwrap();
    assert_eq!((binary.right(), binary.counted()), (3, 5));
}

#[test]
fn what_does_not_fit_is_an_error_and_counts_for_nothing() {
    let values = [0.0; 6];
    let (labels, numbers) = (Target::from([0u8, 1]), Target::from([0.5f32; 6]));
    let refused = |metric: &mut dyn Metric, shape: &[usize], target: &Target, reason: &str| {
        let before = format!("{:?}", metric.values());
        let error = metric_on(metric, shape, &values, target).unwrap_err();
        assert!(error.to_string().contains(reason), "{error}");
        assert_eq!(format!("{:?}", metric.values()), before);
    };
    refused(
        &mut Accuracy::top(0),
        &[3],
        &labels,
        "the top 0 of 3 classes",
    );
    refused(
        &mut Accuracy::top(4),
        &[3],
        &labels,
        "the top 4 of 3 classes",
    );
    refused(&mut Accuracy::new(), &[1], &labels, "two classes or more");
    refused(
        &mut Accuracy::new(),
        &[3, 1, 1],
        &Target::from([0u8]),
        "expected 2, got 1",
    );
    refused(
        &mut Accuracy::new(),
        &[3],
        &Target::from([0u8, 3]),
        "labels[1]: class 3 of 3",
    );
    refused(
        &mut Accuracy::new(),
        &[3],
        &Target::from([-1i8, 0]),
        "labels[0]: class -1 of 3",
    );
    refused(
        &mut Accuracy::above(0.0),
        &[3],
        &labels,
        "is labels, not values",
    );
    refused(&mut Accuracy::new().of("nose"), &[3], &labels, "\"nose\"");
    refused(
        &mut MeanErrors::new(),
        &[3],
        &labels,
        "is labels, not values",
    );
    refused(
        &mut MeanErrors::new(),
        &[3],
        &Target::from([0.5f32]),
        "expected 6, got 1",
    );
    refused(&mut ConfusionMatrix::new(), &[4], &labels, "whole examples");
    let mut confusion = ConfusionMatrix::new();
    metric_on(&mut confusion, &[3], &values, &numbers).unwrap();
    refused(
        &mut confusion,
        &[2],
        &numbers,
        "expected 3 classes, as before, got 2",
    );
    let none: [f32; 0] = [];
    assert!(Prediction::new(&[3].into(), &none, None).is_err());
    assert!(Prediction::new(&[0].into(), &none, None).is_err());
    let alone = Prediction::new(&[3].into(), &values, None).unwrap();
    let error = Accuracy::new().update(&alone.into()).unwrap_err();
    assert!(error.to_string().contains("has no loss"), "{error}");
}
