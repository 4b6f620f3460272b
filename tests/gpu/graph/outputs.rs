//! Outputs that are other values too, and losses of several batches.

use wgpu_cnn::{CrossEntropy, Dropout};

use super::*;

/// A value and what is the same value in evaluation are two outputs, whichever comes first.
#[test]
fn outputs_that_are_one_value_in_evaluation_are_both_given() {
    for order in 0..2 {
        let mut net = Model::graph();
        let x = net.input([4]);
        let mask = net.constant("mask", [4], [0.5, -1.0, 2.0, 0.0]).unwrap();
        let seen = net.add("seen", Dropout::new(0.5), [x]).unwrap();
        let both = net.apply(Add, [seen, mask]).unwrap();
        let a = net.add("a", Linear::new(3), [both]).unwrap();
        let dropped = net.add("dropped", Dropout::new(0.5), [a]).unwrap();
        let y = net.add("y", Linear::new(2), [dropped]).unwrap();
        let pair = if order == 0 {
            [a, dropped]
        } else {
            [dropped, a]
        };
        let model = net.build([pair[0], pair[1], y, x, seen, mask]).unwrap();
        let squared = Loss::mean_squared_error;
        let losses = Losses::of("y", squared(), 1.0)
            .and("a", squared(), 0.5)
            .and("dropped", squared(), 0.5);
        let builder = Trainer::builder(model.clone()).loss(losses).batch(3);
        let input = uniform(&mut random(2), 12);
        let targets = [vec![0.5; 6], vec![0.25; 9], vec![-0.25; 9]];
        let mut first: Option<Vec<(String, Vec<f32>)>> = None;
        for mut trainer in trainers(builder.optimizer(Optimizer::sgd(0.1))) {
            for _ in 0..2 {
                let targets: Vec<&Vec<f32>> = targets.iter().collect();
                trainer.step(&input, targets).unwrap();
            }
            for rows in [3, 2] {
                let outputs = trainer.predict_all(&input[..4 * rows]).unwrap();
                let of = |name: &str| &outputs.iter().find(|o| o.0 == name).unwrap().1;
                assert_eq!(of("a"), of("dropped"));
                assert_eq!(of("input")[..], input[..4 * rows]);
                assert_eq!(of("seen"), of("input"));
                assert_eq!(*of("mask"), [0.5, -1.0, 2.0, 0.0].repeat(rows));
            }
            let outputs = trainer.predict_all(&input).unwrap();
            let expected = first.get_or_insert_with(|| outputs.clone());
            for (got, expected) in outputs.iter().zip(expected) {
                assert_eq!(got.0, expected.0);
                near(&got.0, &got.1, &wide(&expected.1));
            }
        }
    }
}

fn with_ignored() -> Losses {
    let class = CrossEntropy::default().ignored_label(1);
    Losses::of("class", class, 1.0).and("early.1", Loss::mean_squared_error(), 0.25)
}

/// Of several losses each batch's means count by its examples, however many labels are ignored.
#[test]
fn batches_with_ignored_labels_add_up_by_their_examples() {
    let model = towers().unwrap();
    let on_cpu = |builder: TrainerBuilder| builder.on_cpu().unwrap();
    assert_steps("cpu", (&model, &with_ignored()), of_towers, 2, on_cpu);
    if let Some((name, gpu)) = poisoned_gpus().next() {
        let on_gpu = |builder: TrainerBuilder| builder.on(gpu).unwrap();
        assert_steps(name, (&model, &with_ignored()), of_towers, 2, on_gpu);
    }
    let sgd = Optimizer::sgd(0.1);
    let reference = || Reference::<f64>::new(&model, with_ignored(), sgd, 1).unwrap();
    let (mut alone, mut both, mut expected) = (reference(), reference(), Vec::new());
    both.set_accumulate(2).unwrap();
    let batches = [(21, 4), (22, 2)];
    for (seed, batch) in batches {
        let data = of_towers(seed, batch);
        let inputs: Vec<Vec<f64>> = data.inputs.iter().map(|input| wide(input)).collect();
        let inputs: Inputs<f64> = inputs.iter().map(Vec::as_slice).collect();
        alone
            .loss_and_gradients(inputs.clone(), data.targets())
            .unwrap();
        both.step(inputs, data.targets()).unwrap();
        expected.push(alone.gradient("stem.weight").unwrap().to_vec());
    }
    let got = both.gradient("stem.weight").unwrap();
    for (at, got) in got.iter().enumerate() {
        let mean = (4.0 * expected[0][at] + 2.0 * expected[1][at]) / 6.0;
        assert!((got - mean).abs() < 1e-12, "{at}: {got}, expected {mean}");
    }
}

/// Among several losses an error says which output it is of.
#[test]
fn errors_among_several_losses_name_their_output() {
    let wrong = Losses::of("class", Loss::default(), 1.0).and(
        "early.1",
        CrossEntropy::default().class_weights(vec![1.0; 5]),
        1.0,
    );
    let built = Trainer::builder(towers().unwrap()).loss(wrong).on_cpu();
    let error = built.err().unwrap().to_string();
    assert!(error.starts_with("loss of early.1: "), "{error}");
    for mut trainer in trainers(
        Trainer::builder(towers().unwrap())
            .loss(losses())
            .batch(BATCH),
    ) {
        let data = of_towers(1, BATCH);
        let refused = |trainer: &mut Trainer, targets: [Target; 2], name: &str| {
            let error = trainer
                .step(data.inputs(), targets)
                .unwrap_err()
                .to_string();
            assert!(error.starts_with(&format!("loss of {name}: ")), "{error}");
        };
        let [class, early] = [data.targets[0].clone(), data.targets[1].clone()];
        refused(&mut trainer, [class, vec![0.5; 9].into()], "early.1");
        refused(&mut trainer, [vec![7u8; BATCH].into(), early], "class");
    }
}
