//! Where the parameters of a trainer, a predictor or a probe begin.

use std::sync::Arc;

use crate::Result;
use crate::model::{Graph, ParameterId, Weights};

/// Where parameters come from.
#[derive(Debug, Clone, Default)]
pub(super) enum Origin {
    /// The seed alone.
    #[default]
    Seed,
    /// What these leave as it is comes from the seed.
    Weights(Weights),
    /// By parameter.
    Values(Arc<Vec<Vec<f32>>>),
}

impl Origin {
    /// What gives the parameters one by one, once all that can be wrong with their files is known.
    pub fn open<'a>(
        &'a self,
        graph: &'a Graph,
        seed: u64,
    ) -> Result<impl FnMut(ParameterId) -> Result<Vec<f32>> + Send + use<'a>> {
        let mut weights = match self {
            Self::Weights(weights) => Some(weights.open(graph)?),
            Self::Seed | Self::Values(_) => None,
        };
        Ok(move |id: ParameterId| {
            if let Self::Values(values) = self {
                return Ok(values[id.0].clone());
            }
            let read = weights.as_mut().map(|weights| weights.read(graph, id));
            let initial = || graph.initial_values_of(id, seed);
            Ok(read.transpose()?.flatten().unwrap_or_else(initial))
        })
    }

    /// All parameters, in the graph's order.
    pub fn read(&self, graph: &Graph, seed: u64) -> Result<Vec<Vec<f32>>> {
        let ids = (0..graph.parameters().len()).map(ParameterId);
        ids.map(self.open(graph, seed)?).collect()
    }
}
