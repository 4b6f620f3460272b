//! Weights on their way to and from PyTorch.

use std::collections::HashMap;

use safetensors::tensor::{Dtype, TensorView};
use safetensors::{SafeTensors, serialize_to_file};
use wgpu_cnn::Trainer;

use crate::names;
use crate::numbers::Case;

fn resnet18() -> Case {
    let mut cases = Case::all().into_iter();
    cases.find(|case| case.name == "resnet18").unwrap()
}

/// A file as `safetensors.torch.save_file(model.state_dict(), ..)` writes it loads as it is, and gives
/// PyTorch's logits; what is saved then has PyTorch's names and shapes, and the same bits.
#[test]
fn a_file_from_a_state_dict_loads_and_comes_back() {
    let folder = std::env::temp_dir().join(format!("wgpu-cnn-zoo-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let [from, to] = ["from", "to"].map(|name| folder.join(format!("{name}.safetensors")));
    let case = resnet18();
    let model = case.network().unwrap().build().unwrap();
    let values: Vec<(&str, Vec<f32>)> = case.parameters(&model).collect();
    let shapes: HashMap<&str, Vec<usize>> = model
        .parameters()
        .map(|(name, shape)| (name, shape.to_vec()))
        .collect();
    let mut tensors = Vec::new();
    for (name, values) in &values {
        let bytes: &[u8] = bytemuck::cast_slice(values);
        let view = TensorView::new(Dtype::F32, shapes[name].clone(), bytes).unwrap();
        tensors.push((name.to_string(), view));
        if let Some(norm) = name.strip_suffix("running_var") {
            let counted = TensorView::new(Dtype::I64, vec![], &[0; 8]).unwrap();
            tensors.push((format!("{norm}num_batches_tracked"), counted));
        }
    }
    serialize_to_file(tensors, None, &from).unwrap();

    let mut trainer = Trainer::builder(model.clone())
        .batch(case.batch)
        .weights(&from)
        .on_cpu()
        .unwrap();
    let logits = trainer.predict(&case.input(&model)).unwrap();
    let logits: Vec<f64> = logits.into_iter().map(f64::from).collect();
    let stored = case
        .tensors
        .iter()
        .find(|stored| stored.name == "logits")
        .unwrap();
    assert!(stored.difference(&logits) < 1e-5);

    trainer.save(&to).unwrap();
    let bytes = std::fs::read(&to).unwrap();
    let saved = SafeTensors::deserialize(&bytes).unwrap();
    let networks = names::networks();
    for (name, shape) in &networks["resnet18"] {
        let tensor = saved.tensor(name).unwrap();
        // The case has fewer classes.
        if !name.starts_with("fc.") {
            assert_eq!(tensor.shape(), shape, "{name}");
        }
        let (_, values) = values.iter().find(|(known, _)| known == name).unwrap();
        assert_eq!(
            tensor.data(),
            bytemuck::cast_slice::<f32, u8>(values),
            "{name}"
        );
    }
    assert_eq!(saved.len(), networks["resnet18"].len());
    std::fs::remove_dir_all(&folder).unwrap();
}
