use std::io::{Cursor, Error as IoError, Read, Seek, SeekFrom};
use std::path::Path;

use safetensors::tensor::{Dtype, TensorView};
use serde_json::json;

use super::{ParameterId, Weights, header};
use crate::{Error, Model, Result};

/// Two parameters in the order `0.weight`, `0.bias`.
fn model() -> Model {
    Model::builder([3]).dense(2).build().unwrap()
}

/// Opens a file of these bytes.
fn open(bytes: &[u8]) -> Result<Weights<Cursor<&[u8]>>> {
    Weights::new(&model().graph, Path::new("the file"), Cursor::new(bytes))
}

/// What is said of a file.
#[track_caller]
fn refusal(bytes: &[u8]) -> String {
    match open(bytes).map(|_| ()) {
        Err(Error::File { path, reason }) => {
            assert_eq!(path, Path::new("the file"));
            reason
        }
        other => panic!("{other:?}"),
    }
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

#[test]
fn the_header_is_the_one_of_the_format() {
    let (weight, bias) = ([1.0f32, 2.0, 3.0, 4.0, 5.0, f32::NAN], [-0.0f32, 7.0]);
    let [weight, bias]: [&[u8]; 2] = [bytemuck::bytes_of(&weight), bytemuck::bytes_of(&bias)];
    let view = |shape: &[usize], data| TensorView::new(Dtype::F32, shape.to_vec(), data).unwrap();
    let views = [
        ("0.weight", view(&[2, 3], weight)),
        ("0.bias", view(&[2], bias)),
    ];
    let expected = safetensors::serialize(views, None).unwrap();
    let (header, order) = header(&model().graph).unwrap();
    assert_eq!(order, [ParameterId(1), ParameterId(0)]);
    assert_eq!([&header[..], bias, weight].concat(), expected);
    let mut read = open(&expected).unwrap();
    for (id, expected) in [(0, weight), (1, bias)] {
        let values = read.read(ParameterId(id)).unwrap();
        assert_eq!(bytemuck::cast_slice::<f32, u8>(&values), expected);
    }
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
        assert_eq!(refusal(&foreign), "tensor \"z\" is not one of the model's");
        let empty = tensors(&[
            ("z", "F32", &[0], 0),
            ("a", "F32", &[0], 0),
            ("m", "F32", &[0], 0),
        ]);
        assert_eq!(refusal(&empty), "tensor \"a\" is not one of the model's");
        let both = tensors(&[
            ("0.bias", "F64", &[2], 16),
            ("0.weight", "F32", &[3, 2], 24),
        ]);
        let said = "tensor \"0.weight\" is [3, 2], the model's is [2, 3]";
        assert_eq!(refusal(&both), said);
        assert_eq!(refusal(&tensors(&[])), "there is no tensor \"0.weight\"");
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
        Weights::new(&model.graph, Path::new("the file"), Cursor::new(bytes)).map(|_| ())
    };
    open(&header).unwrap();
    header.push(format!("\"num_batches_tracked\": {empty}"));
    let said = open(&header).unwrap_err().to_string();
    assert!(
        said.ends_with("tensor \"num_batches_tracked\" is not one of the model's"),
        "{said}"
    );
}

#[test]
fn what_is_wrong_with_a_file_is_said() {
    let good = tensors(&[("0.weight", "F32", &[2, 3], 24), ("0.bias", "F32", &[2], 8)]);
    assert!(open(&good).is_ok());
    for len in 0..good.len() {
        refusal(&good[..len]);
    }
    let one = |info: &str, len| file(&format!(r#"{{"0.bias": {info}}}"#), len);
    let huge = u64::MAX;
    let cases: [(Vec<u8>, &str); 11] = [
        (vec![], "not a safetensors file: 0 bytes"),
        (vec![0xff; 100], "a header of 18446744073709551615 bytes"),
        (good[..30].to_vec(), "ends within its header"),
        (
            [&good[..], &[0]].concat(),
            "33 bytes of tensors where the header says 32",
        ),
        (file("[]", 0), "the header: invalid type"),
        (file("{\"a\": \"\u{7f}", 0), "the header: EOF"),
        (
            one(
                r#"{"dtype": "F32", "shape": [2], "data_offsets": [4, 12]}"#,
                12,
            ),
            "begins at byte 4",
        ),
        (
            one(
                r#"{"dtype": "F32", "shape": [3], "data_offsets": [0, 8]}"#,
                8,
            ),
            "F32 of [3] in the bytes 0 to 8",
        ),
        (
            one(
                r#"{"dtype": "F32", "shape": [2], "data_offsets": [8, 0]}"#,
                8,
            ),
            "begins at byte 8",
        ),
        (
            one(
                &format!(
                    r#"{{"dtype": "F32", "shape": [{huge}, {huge}], "data_offsets": [0, 0]}}"#
                ),
                0,
            ),
            "in the bytes 0 to 0",
        ),
        (
            one(
                r#"{"dtype": "F4", "shape": [3], "data_offsets": [0, 2]}"#,
                2,
            ),
            "F4 of [3]",
        ),
    ];
    for (bytes, reason) in cases {
        let said = refusal(&bytes);
        assert!(said.contains(reason), "{said}, not {reason}");
    }
}

/// A file whose end cannot be read any more once it was opened.
struct Failing(Cursor<Vec<u8>>, u64);

impl Seek for Failing {
    fn seek(&mut self, place: SeekFrom) -> std::io::Result<u64> {
        self.0.seek(place)
    }
}

impl Read for Failing {
    fn read(&mut self, bytes: &mut [u8]) -> std::io::Result<usize> {
        match self.0.position() >= self.1 {
            true => Err(IoError::other("the disk is gone")),
            false => self.0.read(bytes),
        }
    }
}

#[test]
fn a_disk_that_fails_midway_is_an_error() {
    let good = tensors(&[("0.weight", "F32", &[2, 3], 24), ("0.bias", "F32", &[2], 8)]);
    let end = good.len() as u64 - 8;
    let source = Failing(Cursor::new(good), end);
    let mut weights = Weights::new(&model().graph, Path::new("the file"), source).unwrap();
    assert!(weights.read(ParameterId(0)).is_ok());
    assert!(matches!(
        weights.read(ParameterId(1)),
        Err(Error::File { .. })
    ));
    assert!(matches!(weights.read_all(), Err(Error::File { .. })));
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
    let (header, order) = header(&model.graph).unwrap();
    let said = String::from_utf8_lossy(&header[8..]);
    assert!(
        said.contains(r#""0.num_batches_tracked":{"dtype":"I64","shape":[],"data_offsets":[0,8]}"#)
    );
    // 0.running_mean, 0.running_var, 0.num_batches_tracked, 1.running_mean, 1.running_var
    assert_eq!(order, [2, 0, 1, 3, 4].map(ParameterId));
    let with = |count: i64| {
        let floats = [0.5f32, 1.5, 2.5, 3.5];
        let bytes = [
            &header[..],
            &count.to_le_bytes(),
            bytemuck::cast_slice(&floats),
        ]
        .concat();
        let file = Cursor::new(&bytes[..]);
        Weights::new(&model.graph, Path::new("the file"), file)?.read_all()
    };
    let read = with(1 << 20).unwrap();
    assert_eq!(read, [[0.5], [1.5], [1_048_576.0], [2.5], [3.5]]);
    let said = with(-3).unwrap_err().to_string();
    assert!(said.ends_with("-3 batches"), "{said}");
}

#[test]
fn files_of_pytorch_count_the_batches_of_every_normalisation() {
    let model = counting();
    let file = |dtype: &str, bytes| {
        tensors(&[
            ("0.num_batches_tracked", dtype, &[], bytes),
            ("1.num_batches_tracked", "I64", &[], 8),
            ("0.running_mean", "F32", &[1], 4),
            ("0.running_var", "F32", &[1], 4),
            ("1.running_mean", "F32", &[1], 4),
            ("1.running_var", "F32", &[1], 4),
        ])
    };
    let open =
        |bytes: &[u8]| Weights::new(&model.graph, Path::new("f"), Cursor::new(bytes)).map(drop);
    open(&file("I64", 8)).unwrap();
    let said = open(&file("F32", 4)).unwrap_err().to_string();
    assert!(
        said.ends_with("\"0.num_batches_tracked\" is F32, not I64"),
        "{said}"
    );
}
