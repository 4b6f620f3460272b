//! Files that PyTorch's tools have written: what `files/generate.py` makes.

use std::path::PathBuf;

use safetensors::SafeTensors;
use wgpu_cnn::prelude::*;
use wgpu_cnn::zoo;

/// A file of the folder.
fn file(name: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/zoo/files");
    folder.join(name)
}

fn weights(name: &str) -> Weights {
    Weights::file(file(&format!("{name}.safetensors")))
}

/// The network of all of them but one.
fn network() -> Model {
    let model = Model::builder([1, 4, 4]).conv2d(2, 3).batch_norm().relu();
    model.flatten().dense(3).build().unwrap()
}

/// A stored tensor.
fn expected(name: &str) -> Vec<f64> {
    let bytes = std::fs::read(file("expected.safetensors")).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let tensor = tensors.tensor(name).unwrap();
    let data = tensor.data();
    match name {
        "input" => data
            .chunks_exact(4)
            .map(|it| f32::from_le_bytes(it.try_into().unwrap()).into())
            .collect(),
        _ => data
            .chunks_exact(8)
            .map(|it| f64::from_le_bytes(it.try_into().unwrap()))
            .collect(),
    }
}

/// Loads weights and holds what the model says to what PyTorch's does.
#[track_caller]
fn check(model: Model, weights: Weights, name: &str) -> wgpu_cnn::LoadReport {
    let report = weights.check(&model).unwrap();
    let builder = || Trainer::builder(model.clone()).batch(2);
    let mut started = builder().weights(weights.clone()).on_cpu().unwrap();
    let mut loaded = builder().seed(9).on_cpu().unwrap();
    assert_eq!(loaded.load(weights).unwrap(), report);
    let len = 2 * model.input_shape().len();
    let images = expected("input");
    // Of the network of rows, the first four numbers of each image.
    let rows = images
        .chunks(images.len() / 2)
        .flat_map(|image| &image[..len / 2]);
    let images: Vec<f32> = rows.map(|&value| value as f32).collect();
    for trainer in [&mut started, &mut loaded] {
        let got = trainer.predict(&images).unwrap();
        let expected = expected(name);
        assert_eq!(got.len(), expected.len());
        for (got, expected) in got.iter().zip(expected) {
            let off = (f64::from(*got) - expected).abs();
            assert!(off < 2e-6, "{name}: {got} in place of {expected}");
        }
    }
    report
}

#[test]
fn state_dicts_load_as_they_are() {
    let report = check(network(), weights("plain"), "plain");
    assert_eq!(report.loaded.len(), 8);
    assert!(report.converted.is_empty() && report.unused.is_empty());
    for (name, dtype) in [("half", "F16"), ("bfloat16", "BF16"), ("double", "F64")] {
        let report = check(network(), weights(name), name);
        assert_eq!(report.converted.len(), 8, "{name}");
        assert!(report.converted.iter().all(|(_, it)| it == dtype), "{name}");
    }
}

#[test]
fn parts_of_names_that_pytorch_adds_are_taken_off() {
    for name in ["parallel", "averaged"] {
        let strict = weights(name).check(&network()).unwrap_err().to_string();
        assert!(strict.contains("is there behind \"module.\""), "{strict}");
        let report = check(network(), weights(name).strip_prefix("module."), "plain");
        assert_eq!(report.renamed.len(), 8, "{name}");
        let others: &[&str] = if name == "averaged" {
            &["n_averaged"]
        } else {
            &[]
        };
        assert_eq!(report.unused, others, "{name}");
    }
}

#[test]
fn several_files_with_an_index_are_one() {
    let report = check(network(), Weights::file(file("parts.index.json")), "plain");
    assert_eq!(report.loaded.len(), 8);
    let parts = weights("part-0").and_file(file("part-1.safetensors"));
    assert_eq!(check(network(), parts, "plain"), report);
    let half = weights("part-0").check(&network()).unwrap_err().to_string();
    assert!(half.contains("there is no tensor"), "{half}");
}

#[test]
fn tensors_that_share_their_values_are_found_under_each_name() {
    let mut net = Model::graph();
    let x = net.input([4]);
    let x = net.add("first", Linear::new(4), [x]).unwrap();
    let x = net.add("second", Linear::new(4), [x]).unwrap();
    let report = check(net.build([x]).unwrap(), weights("tied"), "tied");
    let renamed = ("second.weight".to_string(), "first.weight".to_string());
    assert_eq!(report.loaded.len(), 4);
    assert!(report.unused.is_empty(), "{report}");
    assert!(
        !report.renamed.contains(&renamed),
        "the file has that name too"
    );
}

/// What is saved in another form has the names, shapes and types that were asked for, and loads again.
#[test]
fn a_network_of_torchvisions_names_goes_out_and_into_one_with_another_head() {
    let model = |classes| {
        let network = zoo::squeezenet1_1().classes(classes).input([3, 64, 64]);
        network.build().unwrap()
    };
    let trained = Trainer::builder(model(5))
        .batch(1)
        .seed(4)
        .on_cpu()
        .unwrap();
    let options = SaveOptions::new().add_prefix("module.").f16();
    let bytes = trained.weights_bytes(&options).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    for (name, shape) in trained.model().parameters() {
        let tensor = tensors.tensor(&format!("module.{name}")).unwrap();
        assert_eq!(tensor.shape(), &shape[..], "{name}");
        assert_eq!(tensor.dtype(), safetensors::Dtype::F16, "{name}");
    }

    let mut other = Trainer::builder(model(3)).batch(1).on_cpu().unwrap();
    let head = other.parameter("classifier.1.weight").unwrap();
    let weights = Weights::bytes(bytes).strip_prefix("module.");
    let said = other.load(weights.clone()).unwrap_err().to_string();
    let reason = "tensor \"module.classifier.1.weight\" is [5, 512, 1, 1], the model's is [3, 512, 1, 1]; \
                  tensor \"module.classifier.1.bias\" is [5], the model's is [3]";
    assert!(said.ends_with(reason), "{said}");
    let report = other.load(weights.skip("classifier.1.*")).unwrap();
    assert_eq!(report.skipped, ["classifier.1.weight", "classifier.1.bias"]);
    assert_eq!(report.loaded.len(), report.converted.len());
    assert_eq!(other.parameter("classifier.1.weight").unwrap(), head);
    for name in &report.loaded {
        let (got, original) = (other.parameter(name), trained.parameter(name));
        for (got, original) in got.unwrap().iter().zip(original.unwrap()) {
            // Half of the last of 11 binary digits, and of the smallest number there is.
            let off = (got - original).abs();
            assert!(off <= original.abs() / 2048.0 + 2.0f32.powi(-25), "{name}");
        }
    }
}
