use std::path::Path;

use safetensors::tensor::{Dtype, TensorView};
use serde_json::json;

use super::open::Opened;
use super::{SaveOptions, Weights};
use crate::model::ParameterId;
use crate::{Error, Model, Result};

mod index;
mod numbers;
mod options;

/// Two parameters in the order `0.weight`, `0.bias`.
fn model() -> Model {
    Model::builder([3]).dense(2).build().unwrap()
}

/// Opens a file of these bytes.
fn open(bytes: &[u8]) -> Result<Opened> {
    Weights::bytes(bytes).open(&model().graph)
}

/// What is said of weights.
#[track_caller]
fn refused(weights: &Weights, model: &Model) -> String {
    match weights.check(model) {
        Err(Error::File { path, reason }) => {
            assert_eq!(path, Path::new("the bytes"));
            reason
        }
        other => panic!("{other:?}"),
    }
}

/// What is said of a file.
#[track_caller]
fn refusal(bytes: &[u8]) -> String {
    refused(&Weights::bytes(bytes), &model())
}

/// A file with this header before `len` bytes of zeros.
fn file(header: &str, len: usize) -> Vec<u8> {
    let prefix = (header.len() as u64).to_le_bytes();
    [&prefix[..], header.as_bytes(), &vec![0; len]].concat()
}

/// A file of zeros: names, types, shapes and bytes, one after the other.
fn tensors(tensors: &[(&str, &str, &[usize], usize)]) -> Vec<u8> {
    let mut end = 0;
    let tensor = |(name, dtype, shape, len): &(&str, &str, &[usize], usize)| {
        let info = json!({ "dtype": dtype, "shape": shape, "data_offsets": [end, end + len] });
        end += len;
        format!("{name:?}: {info}")
    };
    let header: Vec<String> = tensors.iter().map(tensor).collect();
    file(&format!("{{{}}}", header.join(", ")), end)
}

/// The bytes of a file that options write, of values by the model's names.
fn saved(options: &SaveOptions, model: &Model, values: &[(&str, &[f32])]) -> Result<Vec<u8>> {
    let layout = options.layout(&model.graph)?;
    let mut bytes = layout.header.clone();
    for (at, name) in layout.parameters() {
        let (_, values) = values.iter().find(|(known, _)| *known == name).unwrap();
        layout.write(at, values, &mut bytes)?;
    }
    Ok(bytes)
}

#[test]
fn the_header_is_the_one_of_the_format() {
    let (weight, bias) = ([1.0f32, 2.0, 3.0, 4.0, 5.0, f32::NAN], [-0.0f32, 7.0]);
    let values: [(&str, &[f32]); 2] = [("0.weight", &weight), ("0.bias", &bias)];
    let [weight, bias]: [&[u8]; 2] = [bytemuck::bytes_of(&weight), bytemuck::bytes_of(&bias)];
    let view = |shape: &[usize], data| TensorView::new(Dtype::F32, shape.to_vec(), data).unwrap();
    let views = || {
        [
            ("0.weight", view(&[2, 3], weight)),
            ("0.bias", view(&[2], bias)),
        ]
    };
    let expected = safetensors::serialize(views(), None).unwrap();
    assert_eq!(
        saved(&SaveOptions::new(), &model(), &values).unwrap(),
        expected
    );
    let mut read = open(&expected).unwrap();
    for (id, expected) in [(0, weight), (1, bias)] {
        let values = read.read(&model().graph, ParameterId(id)).unwrap();
        assert_eq!(bytemuck::cast_slice::<f32, u8>(&values.unwrap()), expected);
    }
    let metadata = [("format".to_string(), "pt".to_string())].into();
    let expected = safetensors::serialize(views(), Some(metadata)).unwrap();
    let options = SaveOptions::new().metadata("format", "pt");
    assert_eq!(saved(&options, &model(), &values).unwrap(), expected);
}

#[test]
fn the_same_tensor_is_named_every_time() {
    // In a map whose order is another one in every process and of every map, half of these would fail.
    for _ in 0..20 {
        let foreign = tensors(&[
            ("0.weight", "F32", &[2, 3], 24),
            ("z", "F32", &[1], 4),
            ("a", "F32", &[1], 4),
            ("m", "F32", &[1], 4),
            ("0.bias", "F16", &[2], 4),
        ]);
        let said = "tensor \"z\" is not one of the model's; tensor \"a\" is not one of the model's; \
                    tensor \"m\" is not one of the model's";
        assert_eq!(refusal(&foreign), said);
        let empty = tensors(&[
            ("z", "F32", &[0], 0),
            ("a", "F32", &[0], 0),
            ("m", "F32", &[0], 0),
        ]);
        assert!(refusal(&empty).starts_with("tensor \"a\" is not one of the model's"));
        let both = tensors(&[("0.bias", "I32", &[2], 8), ("0.weight", "F32", &[3, 2], 24)]);
        let said = "tensor \"0.weight\" is [3, 2], the model's is [2, 3]; \
                    tensor \"0.bias\" is I32, not F64, F32, F16 or BF16";
        assert_eq!(refusal(&both), said);
        let said = "there is no tensor \"0.weight\"; there is no tensor \"0.bias\"";
        assert_eq!(refusal(&tensors(&[])), said);
        let overlapping = r#"{"b": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]},
            "a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]},
            "c": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}"#;
        let said = "tensor \"b\" begins at byte 0, where the one before it ends at 4";
        assert_eq!(refusal(&file(overlapping, 4)), said);
        let untyped = r#"{"b": {"dtype": "F33", "shape": [1], "data_offsets": [0, 4]},
            "a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}, "c": 3}"#;
        assert!(refusal(&file(untyped, 4)).starts_with("tensor \"a\": "));
    }
}

#[test]
fn a_header_of_many_names_is_read_name_by_name() {
    // Of a model and a file of many names: a search through all of one for each of the other does not end.
    let mut builder = Model::builder([1]);
    for _ in 0..2000 {
        builder = builder.dense(1);
    }
    let model = builder.build().unwrap();
    let mut header = Vec::new();
    for (at, (name, shape)) in model.parameters().enumerate() {
        let info =
            json!({ "dtype": "F32", "shape": &shape[..], "data_offsets": [4 * at, 4 * at + 4] });
        header.push(format!("{name:?}: {info}"));
    }
    let len = 4 * header.len();
    let empty = json!({ "dtype": "F32", "shape": [0], "data_offsets": [len, len] });
    header.extend((0..100_000).map(|at| format!("\"{at}.num_batches_tracked\": {empty}")));
    let open = |header: &[String]| {
        let bytes = file(&format!("{{{}}}", header.join(", ")), len);
        Weights::bytes(bytes).check(&model)
    };
    open(&header).unwrap();
    header.push(format!("\"num_batches_tracked\": {empty}"));
    let said = open(&header).unwrap_err().to_string();
    assert!(
        said.ends_with("tensor \"num_batches_tracked\" is not one of the model's"),
        "{said}"
    );
}

/// A normalisation that counts its batches, and one that does not.
fn counting() -> Model {
    let norm = crate::BatchNorm::new().affine(false);
    let model = Model::builder([1, 2, 2]).push(norm.momentum(None));
    model.push(norm).build().unwrap()
}

#[test]
fn counts_are_whole_numbers_of_eight_bytes_and_lie_where_these_may() {
    let model = counting();
    let layout = SaveOptions::new().f16().layout(&model.graph).unwrap();
    let said = String::from_utf8_lossy(&layout.header[8..]);
    assert!(
        said.contains(r#""0.num_batches_tracked":{"dtype":"I64","shape":[],"data_offsets":[0,8]}"#)
    );
    let order: Vec<&str> = layout.parameters().map(|(_, name)| name).collect();
    let expected = [
        "0.num_batches_tracked",
        "0.running_mean",
        "0.running_var",
        "1.running_mean",
        "1.running_var",
    ];
    assert_eq!(order, expected);
    let header = SaveOptions::new().layout(&model.graph).unwrap().header;
    let with = |count: i64| {
        let floats = [0.5f32, 1.5, 2.5, 3.5];
        let bytes = [
            &header[..],
            &count.to_le_bytes(),
            bytemuck::cast_slice(&floats),
        ]
        .concat();
        let mut opened = Weights::bytes(bytes).open(&model.graph)?;
        let all = opened.read_all(&model.graph)?;
        Ok::<_, Error>(all.into_iter().map(|(_, values)| values))
    };
    let read: Vec<Vec<f32>> = with(1 << 20).unwrap().collect();
    assert_eq!(read, [[0.5], [1.5], [1_048_576.0], [2.5], [3.5]]);
    let said = with(-3).map(drop).unwrap_err().to_string();
    assert!(said.ends_with("element 0 is -3 batches"), "{said}");
}

/// The tensors of [`counting`], the count of one of them of this type.
fn counted(dtype: &str, bytes: usize) -> Vec<u8> {
    tensors(&[
        ("0.num_batches_tracked", dtype, &[], bytes),
        ("1.num_batches_tracked", "I64", &[], 8),
        ("0.running_mean", "F32", &[1], 4),
        ("0.running_var", "F32", &[1], 4),
        ("1.running_mean", "F32", &[1], 4),
        ("1.running_var", "F32", &[1], 4),
    ])
}

#[test]
fn files_of_pytorch_count_the_batches_of_every_normalisation() {
    let model = counting();
    let check = |bytes: Vec<u8>| Weights::bytes(bytes).check(&model);
    let report = check(counted("I64", 8)).unwrap();
    assert!(report.converted.is_empty() && report.unused.is_empty());
    for (dtype, bytes) in [("U8", 1), ("I8", 1), ("U16", 2), ("I32", 4), ("U64", 8)] {
        let report = check(counted(dtype, bytes)).unwrap();
        let converted = ("0.num_batches_tracked".to_string(), dtype.to_string());
        assert_eq!(report.converted, [converted]);
    }
    let said = check(counted("F32", 4)).unwrap_err().to_string();
    assert!(
        said.ends_with("\"0.num_batches_tracked\" is F32, not a whole number"),
        "{said}"
    );
}
