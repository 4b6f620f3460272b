//! Weights on disk, in the safetensors format.

use std::path::Path;

#[cfg(feature = "native")]
use safetensors::tensor::TensorView;
use safetensors::tensor::{Dtype, SafeTensors};

use super::Graph;
use crate::{Error, Result, Shape};

/// Writes every parameter under its name as little-endian f32. `values` is in the graph's order.
#[cfg(feature = "native")]
pub(crate) fn write_weights(graph: &Graph, values: &[Vec<f32>], path: &Path) -> Result<()> {
    let bytes: Vec<Vec<u8>> = values
        .iter()
        .map(|values| {
            values
                .iter()
                .flat_map(|value| value.to_le_bytes())
                .collect()
        })
        .collect();
    let mut views = Vec::new();
    for (parameter, bytes) in graph.parameters().iter().zip(&bytes) {
        let view = TensorView::new(Dtype::F32, parameter.shape.to_vec(), bytes);
        views.push((
            parameter.name.as_str(),
            view.map_err(|e| Error::file(path, e))?,
        ));
    }
    let file = safetensors::serialize(views, None).map_err(|e| Error::file(path, e))?;
    crate::file::replace(path, &file)
}

/// Reads every parameter of the graph, in its order. The file must hold each of them, by name, in
/// its shape, as f32; other tensors in it are an error too, since they belong to another model.
pub(crate) fn read_weights(graph: &Graph, path: &Path) -> Result<Vec<Vec<f32>>> {
    let file = std::fs::read(path).map_err(|e| Error::file(path, e))?;
    let tensors = SafeTensors::deserialize(&file).map_err(|e| Error::file(path, e))?;
    // PyTorch counts the batches that a normalisation has seen; nothing here depends on it.
    let foreign = |name: &&str| {
        graph.parameter_named(name).is_err() && !name.ends_with(".num_batches_tracked")
    };
    let unknown = tensors.names().into_iter().find(foreign);
    if let Some(name) = unknown {
        return Err(Error::file(
            path,
            format!("tensor {name:?} is not one of the model's"),
        ));
    }
    let parameters = graph.parameters().iter().map(|parameter| {
        let name = &parameter.name;
        let tensor = tensors
            .tensor(name)
            .map_err(|_| Error::file(path, format!("there is no tensor {name:?}")))?;
        if tensor.dtype() != Dtype::F32 {
            let reason = format!("tensor {name:?} is {:?}, not F32", tensor.dtype());
            return Err(Error::file(path, reason));
        }
        if tensor.shape() != &parameter.shape[..] {
            let got = Shape::from(tensor.shape());
            let reason = format!(
                "tensor {name:?} is {got}, the model's is {}",
                parameter.shape
            );
            return Err(Error::file(path, reason));
        }
        let (words, _) = tensor.data().as_chunks::<4>();
        Ok(words.iter().map(|&word| f32::from_le_bytes(word)).collect())
    });
    parameters.collect()
}
