//! Layers whose weights are larger than a buffer may be and lie in pieces.

use wgpu_cnn::{Activation, Error, Loss, Model, Op, Trainer};

use crate::cases::chosen;
use crate::common::poisoned_gpus;

/// Bytes of the weights of a layer.
fn bytes(model: &Model, weights: &str) -> u64 {
    let mut parameters = model.parameters();
    let found = parameters.find(|(name, _)| *name == weights);
    found.unwrap().1.len() as u64 * 4
}

/// Every layer with weights, at every case of it: each of its kernels against the reference.
#[test]
fn every_layer_with_weights_is_right_in_pieces() {
    let (mut tried, mut devices) = (0, poisoned_gpus().collect::<Vec<_>>().into_iter().cycle());
    let takes_pieces =
        |op: &Op| matches!(op, Op::Linear(_) | Op::Conv2d(_) | Op::ConvTranspose2d(_));
    let cases = chosen();
    for (at, case) in cases
        .iter()
        .filter(|case| takes_pieces(&case.op))
        .enumerate()
    {
        let Some((device, gpu)) = devices.next() else {
            return;
        };
        for (parts, half) in [(2u64, at % 2 == 0), (5, at % 2 == 1)] {
            // Alone, and before and behind what its kernels take part in.
            let model = match (at + parts as usize) % 3 {
                0 => case.model(),
                1 => case.model_before(Activation::Relu),
                _ => Ok(case.models_around().unwrap().remove(0)),
            };
            let model = model.unwrap();
            let whole = bytes(&model, "operator.weight");
            let builder = Trainer::builder(model.clone()).batch(case.batch);
            let builder = builder.loss(Loss::mean_squared_error());
            let builder = builder.max_slab((whole / parts).next_multiple_of(16));
            let mut trainer = match builder.half_precision(half).on(gpu) {
                Ok(trainer) => trainer,
                // A row of some layer's weights does not fit.
                Err(Error::Limit {
                    limit: "max_slab", ..
                }) => continue,
                Err(error) => panic!("{}: {error}", case.name),
            };
            let report = trainer.verify().unwrap();
            let name = case.op.name();
            assert!(
                report.passed(),
                "{name}, {} {device} {parts}: {report}",
                case.name
            );
            tried += 1;
        }
    }
    let any = cases.iter().any(|case| takes_pieces(&case.op));
    assert!(!any || tried >= 3, "{tried}");
}
