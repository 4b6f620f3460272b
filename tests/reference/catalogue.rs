//! Every case of every operator in the catalogue, by itself and with an activation after it: the gradient
//! along random directions, of each parameter and of the input, against finite differences in f64.

use wgpu_cnn::{Activation, Loss, Model, Optimizer, Reduction, Reference, Target};

use crate::cases::chosen;
use crate::differences::{compare, differences, values};

/// Directions for each parameter.
const DIRECTIONS: usize = 3;

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// Moves along a direction.
fn shift(to: &mut [f64], direction: &[f64], step: f64) {
    let pairs = to.iter_mut().zip(direction);
    pairs.for_each(|(to, direction)| *to += step * direction);
}

fn check(name: &str, model: &Model, batch: usize) -> Result<(), String> {
    let loss = Loss::MeanSquaredError(Reduction::Sum);
    let mut reference = Reference::<f64>::new(model, loss, Optimizer::sgd(0.0), 5).unwrap();
    let mut input = values(batch * model.input_shape().len(), 1);
    let wanted = values(batch * model.output_shape().len(), 2);
    let target = Target::Values(wanted.iter().map(|&value| value as f32).collect());
    let (_, of_input) = reference.loss_and_input_gradient(&input, &target).unwrap();
    let (mut analytic, mut numeric) = (Vec::new(), Vec::new());
    let directions = |len: usize| (0..DIRECTIONS).map(move |seed| values(len, 10 + seed as u64));
    let learned = model.parameters().map(|(name, _)| name);
    let learned = learned.filter(|name| !name.contains("running") && !name.contains("num_batches"));
    let gradients: Vec<_> = learned
        .map(|name| (name, reference.gradient(name).unwrap().to_vec()))
        .collect();
    for (parameter, gradient) in gradients {
        for direction in directions(gradient.len()) {
            analytic.push(dot(&gradient, &direction));
            numeric.extend(differences(1, |_, step| {
                let before = reference.parameter(parameter).unwrap().to_vec();
                shift(
                    reference.parameter_mut(parameter).unwrap(),
                    &direction,
                    step,
                );
                let loss = reference.loss_and_gradients(&input, &target).unwrap();
                reference.set_parameter(parameter, &before).unwrap();
                loss
            }));
        }
    }
    for direction in directions(input.len()) {
        analytic.push(dot(&of_input, &direction));
        numeric.extend(differences(1, |_, step| {
            let before = input.clone();
            shift(&mut input, &direction, step);
            let loss = reference.loss_and_gradients(&input, &target).unwrap();
            input = before;
            loss
        }));
    }
    compare(name, &analytic, &numeric)
}

#[test]
fn every_case_of_every_operator_has_the_gradients_of_differences() {
    let mut functions = Activation::ALL.into_iter().cycle();
    let mut wrong = String::new();
    for case in chosen() {
        let name = format!("{}, {}", case.op.name(), case.name);
        let alone = check(&name, &case.model().unwrap(), case.batch);
        // A function that stops most of the gradients proves nothing; the next one is tried then.
        let tried = functions.by_ref().take(Activation::ALL.len());
        let mut tried = tried.map(|function| {
            let model = case.model_before(function).unwrap();
            check(&name, &model, case.batch)
        });
        let tells = |told: &Result<(), String>| {
            let nothing = |error: &String| error.contains("proves nothing");
            !told.as_ref().is_err_and(nothing)
        };
        let before = tried.find(tells);
        let before = before.unwrap_or_else(|| Err(format!("{name}: no function lets it through")));
        for error in [alone, before].into_iter().filter_map(Result::err) {
            wrong += &format!("{error}\n");
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}
