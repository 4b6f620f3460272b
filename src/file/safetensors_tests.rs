use std::io::{Cursor, Error as IoError, Read, Seek, SeekFrom};
use std::path::Path;

use safetensors::tensor::Dtype;

use super::{Reader, header};
use crate::{Error, Result};

fn open(bytes: &[u8]) -> Result<Reader<Cursor<&[u8]>>> {
    Reader::new(Path::new("the file"), Cursor::new(bytes))
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

/// Two tensors of zeros.
fn good() -> Vec<u8> {
    let tensors: [(&str, Dtype, &[usize]); 2] =
        [("weight", Dtype::F32, &[2, 3]), ("bias", Dtype::F32, &[2])];
    let (mut bytes, order) = header(tensors, &Default::default()).unwrap();
    assert_eq!(order, [1, 0]);
    bytes.resize(bytes.len() + 32, 0);
    bytes
}

#[test]
fn what_is_wrong_with_a_file_is_said() {
    let good = good();
    assert!(open(&good).is_ok());
    for len in 0..good.len() {
        refusal(&good[..len]);
    }
    let one = |info: &str, len| file(&format!(r#"{{"bias": {info}}}"#), len);
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
fn metadata_are_strings() {
    let metadata = [("b", "2"), ("a", "1")].map(|(key, value)| (key.into(), value.into()));
    let metadata = metadata.into();
    let (bytes, order) = header([], &metadata).unwrap();
    assert!(order.is_empty());
    let said = String::from_utf8_lossy(&bytes[8..]);
    assert_eq!(said.trim_end(), r#"{"__metadata__":{"a":"1","b":"2"}}"#);
    assert_eq!(*open(&bytes).unwrap().metadata(), metadata);
    let null = file(r#"{"__metadata__": null}"#, 0);
    assert!(open(&null).unwrap().metadata().is_empty());
    for wrong in ["3", r#"{"a": 3}"#, "[]", r#"{"a": null}"#] {
        let said = refusal(&file(&format!(r#"{{"__metadata__": {wrong}}}"#), 0));
        assert!(said.starts_with("the header's metadata: "), "{said}");
    }
}

#[test]
fn a_header_that_cannot_be_read_again_is_not_written() {
    let said = |tensors: &[(&str, Dtype, &[usize])]| {
        header(tensors.iter().copied(), &Default::default()).unwrap_err()
    };
    let twice: [(&str, Dtype, &[usize]); 2] = [("a", Dtype::F32, &[1]), ("a", Dtype::I64, &[])];
    assert_eq!(said(&twice), "two tensors would be called \"a\"");
    let said = said(&[("__metadata__", Dtype::F32, &[1])]);
    assert_eq!(said, "two tensors would be called \"__metadata__\"");
    let huge = [usize::MAX / 4, 2];
    for tensors in [
        vec![("a", Dtype::F32, &huge[..])],
        vec![("a", Dtype::F4, &[1])],
    ] {
        let said = header(tensors, &Default::default()).unwrap_err();
        assert_eq!(said, "tensor \"a\" is too large for a file");
    }
}

#[test]
fn a_tensor_is_read_in_parts_that_end_where_it_does() {
    let bytes = good();
    let mut reader = open(&bytes).unwrap();
    assert_eq!(reader.tensors()[1].0, "weight");
    let mut part = [1; 8];
    reader.read(1, 16, &mut part).unwrap();
    assert_eq!(part, [0; 8]);
    for offset in [17, 24, u64::MAX] {
        assert!(reader.read(1, offset, &mut part).is_err(), "{offset}");
    }
}

#[test]
fn a_disk_that_fails_midway_is_an_error() {
    let good = good();
    let end = good.len() as u64 - 8;
    let source = Failing(Cursor::new(good), end);
    let mut reader = Reader::new(Path::new("the file"), source).unwrap();
    let mut values = [0; 8];
    assert!(reader.read(0, 0, &mut values).is_ok());
    let read = reader.read(1, 16, &mut values);
    assert!(matches!(read, Err(Error::File { .. })));
}

#[test]
fn a_name_that_is_there_twice_is_damage() {
    let info = |at: &str| format!(r#"{{"dtype":"F32","shape":[0],"data_offsets":{at}}}"#);
    let (first, second) = (info("[0,0]"), info("[0,0]"));
    // Both are tensors, of the same bytes: none at all.
    let twice = file(&format!(r#"{{"a":{first},"b":{first},"a":{second}}}"#), 0);
    assert!(
        refusal(&twice).contains("\"a\" is there twice"),
        "{}",
        refusal(&twice)
    );
    let escaped = file(&format!(r#"{{"a":{first},"\u0061":{second}}}"#), 0);
    assert!(refusal(&escaped).contains("\"a\" is there twice"));
    for twice in [
        r#"{"__metadata__":{},"__metadata__":{}}"#,
        r#"{"__metadata__":{"a":"b","a":"b"}}"#,
        r#"{"a":{"dtype":"F32","shape":[0],"shape":[0],"data_offsets":[0,0]}}"#,
    ] {
        let said = refusal(&file(twice, 0));
        assert!(
            said.contains("twice") || said.contains("duplicate field"),
            "{said}"
        );
    }
    assert!(open(&file(r#"{"__metadata__":null}"#, 0)).is_ok());
}
