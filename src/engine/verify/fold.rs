//! What becomes of running statistics where several ranks train.

use super::rig::{Outcome, Rig, STEP, Trial};
use crate::Result;
use crate::cpu::Real;
use crate::engine::data::{Data, Fill};
use crate::engine::operators::{Sum, fold};
use crate::engine::reference::Compute;
use crate::engine::tolerance::measure;
use crate::op::{BatchNorm, Op};

/// The running estimates after a batch, from its mean and variance and the estimates before.
struct FoldPass<'a>(&'a BatchNorm);

impl Compute for FoldPass<'_> {
    fn compute<T: Real>(&self, inputs: &[Vec<T>]) -> Result<Vec<Vec<T>>> {
        let running: Vec<&[T]> = inputs[2..].iter().map(Vec::as_slice).collect();
        Ok(fold(self.0, [&inputs[0], &inputs[1]], &running))
    }
}

/// The running estimates of each layer, as a batch's own become part of them.
pub(super) async fn folds(rig: &Rig<'_>) -> Result<Vec<Outcome>> {
    let (graph, mut outcomes) = (&rig.task.model.graph, Vec::new());
    let mut data = Data::new(Fill::Uniform, false, 0);
    for own in rig.lowered.apart.iter().flat_map(|apart| &apart.layers) {
        let node = &graph.nodes()[own.node];
        let Op::BatchNorm(norm) = &node.op else {
            continue;
        };
        let ids = &node.parameters[norm.first_statistic()..];
        let mut contents = vec![data.values(own.channels, 1.0), data.positive(own.channels)];
        contents.extend(ids.iter().map(|&id| match graph.parameter(id).is_count() {
            true => vec![5.0],
            false => data.positive(own.channels),
        }));
        let measured = measure(&FoldPass(norm), &contents, false)?;
        let mut trial = Trial::new(&own.range);
        for (place, values) in own.places.iter().zip(&contents) {
            trial.write(place.1, values);
        }
        for ((&id, values), measured) in ids.iter().zip(&contents[2..]).zip(&measured) {
            let (parameter, place) = (graph.parameter(id), rig.lowered.parameter(id)?);
            trial.write_parameters(std::slice::from_ref(&place), std::slice::from_ref(values));
            let expected = measured.expect(Sum::formula(3), Fill::Uniform);
            let (name, shape) = (parameter.spec.name, &parameter.shape);
            trial.awaits_pieces(name, Some(&place), shape, expected);
        }
        outcomes.extend(rig.run(trial, STEP).await?);
    }
    Ok(outcomes)
}
