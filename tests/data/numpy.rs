//! NumPy's files.

use wgpu_cnn::Target;
use wgpu_cnn::data::{Array, Dataset, Memory, Values};

use crate::Folder;

/// A `.npy` file of the version 1 with this header.
fn npy(header: &str, values: &[u8]) -> Vec<u8> {
    let mut file = b"\x93NUMPY\x01\x00".to_vec();
    file.extend((header.len() as u16).to_le_bytes());
    file.extend(header.as_bytes());
    file.extend(values);
    file
}

fn of(kind: &str, shape: &str, values: &[u8]) -> Vec<u8> {
    let header = format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}   \n");
    npy(&header, values)
}

#[test]
fn every_type_is_read() {
    let read = |kind: &str, bytes: &[u8]| {
        Array::npy(&of(kind, "(2,)", bytes))
            .unwrap()
            .values()
            .clone()
    };
    let integers = |numbers: [i64; 2]| Values::Integers(numbers.into());
    let floats = |numbers: [f32; 2]| Values::Floats(numbers.into());
    assert_eq!(read("|b1", &[0, 1]), Values::Bytes(vec![0, 1]));
    assert_eq!(read("|u1", &[7, 255]), Values::Bytes(vec![7, 255]));
    assert_eq!(read("|i1", &[7, 255]), integers([7, -1]));
    assert_eq!(read("<u2", &[1, 0, 255, 255]), integers([1, 65535]));
    assert_eq!(read(">i2", &[0, 1, 255, 255]), integers([1, -1]));
    macro_rules! hold {
        ($($kind:literal $type:ty: $a:expr, $b:expr => $expected:expr;)*) => {$(
            let little = [<$type>::to_le_bytes($a), <$type>::to_le_bytes($b)].concat();
            let big = [<$type>::to_be_bytes($a), <$type>::to_be_bytes($b)].concat();
            assert_eq!(read(concat!("<", $kind), &little), $expected);
            assert_eq!(read(concat!(">", $kind), &big), $expected);
        )*};
    }
    hold! {
        "u4" u32: 3, u32::MAX => integers([3, u32::MAX.into()]);
        "u8" u64: 3, i64::MAX as u64 => integers([3, i64::MAX]);
        "i4" i32: -3, i32::MIN => integers([-3, i32::MIN.into()]);
        "i8" i64: -3, i64::MIN => integers([-3, i64::MIN]);
        "f4" f32: 0.1, -5.5 => floats([0.1, -5.5]);
        "f8" f64: 0.1, f64::INFINITY => floats([0.1, f32::INFINITY]);
        "u2" u16: 3, 500 => integers([3, 500]);
    }
    assert_eq!(read("<f2", &[0, 0x3c, 0, 0xc0]), floats([1.0, -2.0]));
    assert_eq!(read(">f2", &[0x3c, 0, 0xc0, 0]), floats([1.0, -2.0]));
}

#[test]
fn both_orders_of_axes_and_all_versions_are_read() {
    let shape = |file: &[u8]| Array::npy(file).unwrap().shape().to_vec();
    assert!(shape(&of("|u1", "()", &[1])).is_empty());
    assert_eq!(shape(&of("|u1", "(3,)", &[1, 2, 3])), [3]);
    assert_eq!(shape(&of("|u1", "(1, 3)", &[1, 2, 3])), [1, 3]);
    assert_eq!(shape(&of("|u1", "(0, 3)", &[])), [0, 3]);
    let header = "{'shape': (2, 3), 'fortran_order': True, 'descr': '|u1'}";
    // [[1, 2, 3], [4, 5, 6]], column by column.
    let columns = Array::npy(&npy(header, &[1, 4, 2, 5, 3, 6])).unwrap();
    assert_eq!(
        columns,
        Array::new([2, 3], vec![1u8, 2, 3, 4, 5, 6]).unwrap()
    );
    for version in [2, 3] {
        let mut file = b"\x93NUMPY".to_vec();
        file.extend([version, 0]);
        file.extend((header.len() as u32).to_le_bytes());
        file.extend(header.as_bytes());
        file.extend([1, 4, 2, 5, 3, 6]);
        assert_eq!(Array::npy(&file).unwrap(), columns);
    }
}

#[test]
fn what_is_no_array_is_an_error() {
    let whole = of("<f4", "(2, 3)", &[0; 24]);
    assert!(Array::npy(&whole).is_ok());
    for end in 0..whole.len() {
        assert!(Array::npy(&whole[..end]).is_err(), "{end}");
    }
    assert!(Array::npy(&[&whole[..], &[0]].concat()).is_err());
    let said = |file: &[u8]| Array::npy(file).unwrap_err().to_string();
    for (kind, shape) in [
        ("<c8", "(2,)"),
        ("|O", "(2,)"),
        ("<U5", "(2,)"),
        ("<f16", "(2,)"),
        ("<f4", "(2"),
        ("<f4", "(-2,)"),
        ("<f4", "(2 3)"),
        ("<f4", "2"),
        ("<f4", "(99999999999999999999999,)"),
        ("<f4", "(18446744073709551615, 18446744073709551615)"),
        ("<f4", "(4611686018427387904,)"),
    ] {
        assert!(
            said(&of(kind, shape, &[0; 64])).starts_with("npy: "),
            "{kind} {shape}"
        );
    }
    for header in [
        "",
        "{",
        "{}",
        "{'descr': '<f4'}",
        "[1]",
        "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': ()}",
        "{'descr': '<f4', 'fortran_order': Maybe, 'shape': ()}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': ()} more",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (), 'other': 1}",
        "{'descr: '<f4', 'fortran_order': False, 'shape': ()}",
        "{\u{e9}",
    ] {
        assert!(Array::npy(&npy(header, &[0; 4])).is_err(), "{header}");
    }
    let wide = of("<u8", "(1,)", &u64::MAX.to_le_bytes());
    assert_eq!(said(&wide), "npy: an integer is above those of `i64`");
}

#[test]
fn an_archive_that_is_damaged_is_an_error() {
    let whole = std::fs::read(crate::path("expected.npz")).unwrap();
    let arrays = Array::npz(&whole).unwrap();
    assert!(arrays.iter().any(|(name, _)| name == "usual"));
    // The sums that zip keeps tell a byte that has changed.
    let mut damaged = whole.clone();
    damaged[whole.len() / 3] ^= 0x10;
    let error = Array::npz(&damaged).unwrap_err().to_string();
    assert!(error.starts_with("npz: "), "{error}");
    for end in [0, 10, whole.len() / 2, whole.len() - 30] {
        assert!(Array::npz(&whole[..end]).is_err(), "{end}");
    }
    let folder = Folder::new("npz");
    let file = folder.write("x.npz", b"nothing");
    let error = Array::read_npz(&file).unwrap_err().to_string();
    assert!(error.contains("x.npz"), "{error}");
}

#[test]
fn inputs_and_labels_make_a_data_set() {
    let folder = Folder::new("npy");
    let inputs = folder.write("x.npy", &of("|u1", "(3, 1, 1, 2)", &[1, 2, 3, 4, 5, 6]));
    let labels: Vec<u8> = [4i64, -100, 0]
        .iter()
        .flat_map(|l| l.to_le_bytes())
        .collect();
    let labels = folder.write("y.npy", &of("<i8", "(3,)", &labels));
    let targets = Target::from(Array::read_npy(labels).unwrap());
    let memory = Memory::new(Array::read_npy(inputs).unwrap(), targets).unwrap();
    let example = memory.get(2).unwrap();
    assert_eq!(example.input, Array::new([1, 1, 2], vec![5u8, 6]).unwrap());
    assert_eq!(example.target, Target::WideLabels(vec![0]));
    assert!(memory.get(3).is_err());
}
