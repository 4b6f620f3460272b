//! IDX and CIFAR.

use std::io::Write;
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use wgpu_cnn::Target;
use wgpu_cnn::data::{Array, Dataset, Memory, Split, Values};

use crate::{Folder, bytes};

fn idx(kind: u8, shape: &[u32], values: &[u8]) -> Vec<u8> {
    let mut file = vec![0, 0, kind, shape.len() as u8];
    file.extend(shape.iter().flat_map(|extent| extent.to_be_bytes()));
    file.extend(values);
    file
}

fn packed(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn idx_holds_bytes_integers_and_real_numbers() {
    let read = |kind, bytes: &[u8]| {
        Array::idx(&idx(kind, &[2], bytes))
            .unwrap()
            .values()
            .clone()
    };
    assert_eq!(read(0x08, &[1, 200]), Values::Bytes(vec![1, 200]));
    assert_eq!(read(0x09, &[1, 200]), Values::Integers(vec![1, -56]));
    assert_eq!(
        read(0x0b, &[1, 0, 255, 255]),
        Values::Integers(vec![256, -1])
    );
    assert_eq!(
        read(0x0c, &[0, 0, 1, 0, 255, 255, 255, 255]),
        Values::Integers(vec![256, -1])
    );
    assert_eq!(
        read(0x0d, &[0x3f, 0x80, 0, 0, 0, 0, 0, 0]),
        Values::Floats(vec![1.0, 0.0])
    );
    let doubles = [1.5f64.to_be_bytes(), (-2.0f64).to_be_bytes()].concat();
    assert_eq!(read(0x0e, &doubles), Values::Floats(vec![1.5, -2.0]));
}

#[test]
fn idx_that_does_not_hold_what_it_says_is_an_error() {
    let whole = idx(0x08, &[2, 3], &[1, 2, 3, 4, 5, 6]);
    for file in [whole.clone(), packed(&whole)] {
        assert_eq!(Array::idx(&file).unwrap().shape()[..], [2, 3]);
        for end in 0..file.len() {
            assert!(Array::idx(&file[..end]).is_err(), "{end}");
        }
    }
    assert!(Array::idx(&idx(0x08, &[2, 3], &[0; 7])).is_err());
    assert!(Array::idx(&idx(0x0a, &[1], &[0])).is_err());
    assert!(Array::idx(&idx(0x08, &[], &[0])).is_err());
    // A header that promises more than there is memory takes none.
    for shape in [&[u32::MAX][..], &[u32::MAX; 2], &[u32::MAX; 8]] {
        let error = Array::idx(&idx(0x0e, shape, &[0; 64]))
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("64 bytes of values where the header says"),
            "{error}"
        );
    }
    // Gigabytes of zeros in some bytes.
    let bomb = packed(&[idx(0x08, &[4], &[0; 4]), vec![0; 1 << 22]].concat());
    assert!(Array::idx(&bomb).is_err());
}

#[test]
fn the_files_of_mnist_make_a_data_set() {
    let folder = Folder::new("mnist");
    let name = |part: &str| format!("train-{part}-ubyte");
    folder.write(
        &name("images-idx3"),
        &idx(0x08, &[2, 1, 3], &[1, 2, 3, 4, 5, 6]),
    );
    folder.write(
        &format!("{}.gz", name("labels-idx1")),
        &packed(&idx(0x08, &[2], &[2, 0])),
    );
    let train = Memory::read_mnist(&folder.0, Split::Train).unwrap();
    assert_eq!(train.example_shape()[..], [1, 1, 3]);
    assert_eq!(train.classes(), ["0", "1", "2"]);
    assert_eq!(train.get(1).unwrap().target, Target::Labels(vec![0]));
    let [images, labels] = ["images-idx3-ubyte", "labels-idx1-ubyte.gz"]
        .map(|part| std::fs::read(folder.0.join(format!("train-{part}"))).unwrap());
    assert_eq!(Memory::mnist(&images, &labels).unwrap(), train);
    let error = Memory::read_mnist(&folder.0, Split::Test)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("holds neither t10k-images-idx3-ubyte nor"),
        "{error}"
    );
    // Labels of other images, and files of other things.
    for (part, file) in [
        ("labels-idx1", idx(0x08, &[3], &[2, 0, 1])),
        ("labels-idx1", idx(0x08, &[2, 1], &[2, 0])),
        ("labels-idx1", idx(0x0b, &[2], &[0, 2, 0, 0])),
        ("images-idx3", idx(0x08, &[2, 3], &[0; 6])),
        ("images-idx3", idx(0x08, &[0, 2, 3], &[])),
    ] {
        let other = Folder::new("mnist-other");
        other.write(
            &name("images-idx3"),
            &idx(0x08, &[2, 1, 3], &[1, 2, 3, 4, 5, 6]),
        );
        other.write(&name("labels-idx1"), &idx(0x08, &[2], &[2, 0]));
        other.write(&name(part), &file);
        let error = Memory::read_mnist(&other.0, Split::Train)
            .unwrap_err()
            .to_string();
        assert!(error.contains("ubyte"), "{error}");
        let read = |part| std::fs::read(other.0.join(name(part))).unwrap();
        let (images, labels) = (read("images-idx3"), read("labels-idx1"));
        let error = Memory::mnist(&images, &labels).unwrap_err().to_string();
        let named = ["images", "labels", "IDX"].map(|name| error.starts_with(name));
        assert!(named.contains(&true), "{error}");
    }
}

#[test]
fn the_images_of_the_repository_are_read() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/data/fashion-mnist");
    let test = Memory::read_mnist(folder, Split::Test).unwrap();
    assert_eq!((test.len(), test.classes().len()), (1000, 10));
    assert_eq!(test.inputs().shape()[..], [1000, 1, 28, 28]);
}

/// Records of CIFAR: labels, then an image of one value.
fn records(of: &[(&[u8], u8)]) -> Vec<u8> {
    of.iter()
        .flat_map(|(labels, pixel)| [labels, &[*pixel; 3072][..]].concat())
        .collect()
}

#[test]
fn cifar_is_read() {
    let ten = Memory::cifar10(&records(&[(&[3], 7), (&[9], 8)])).unwrap();
    assert_eq!(ten.targets(), &Target::Labels(vec![3, 9]));
    assert_eq!(ten.inputs().shape()[..], [2, 3, 32, 32]);
    assert_eq!(bytes(&ten.get(1).unwrap().input)[0], 8);
    assert_eq!(ten.classes().len(), 10);
    // The coarse label comes first.
    let hundred = Memory::cifar100(&records(&[(&[19, 99], 7)])).unwrap();
    assert_eq!(hundred.targets(), &Target::Labels(vec![99]));
    assert!(Memory::cifar10(&records(&[(&[10], 7)])).is_err());
    assert!(Memory::cifar100(&records(&[(&[0, 100], 7)])).is_err());
    let whole = records(&[(&[3], 7)]);
    for end in [0, 1, 3072] {
        assert!(Memory::cifar10(&whole[..end]).is_err());
    }

    let folder = Folder::new("cifar");
    for file in 1..=5u8 {
        folder.write(
            &format!("data_batch_{file}.bin"),
            &records(&[(&[file], file)]),
        );
    }
    let train = Memory::read_cifar10(&folder.0, Split::Train).unwrap();
    assert_eq!(train.targets(), &Target::Labels(vec![1, 2, 3, 4, 5]));
    let error = Memory::read_cifar10(&folder.0, Split::Test)
        .unwrap_err()
        .to_string();
    assert!(error.contains("test_batch.bin"), "{error}");
    folder.write("test_batch.bin", &records(&[(&[3], 1)]));
    folder.write(
        "batches.meta.txt",
        b"airplane\nautomobile\nbird\ncat\ndeer\ndog\nfrog\nhorse\nship\ntruck\n\n",
    );
    let test = Memory::read_cifar10(&folder.0, Split::Test).unwrap();
    assert_eq!(test.classes()[9], "truck");
    folder.write("batches.meta.txt", b"airplane\n");
    assert!(Memory::read_cifar10(&folder.0, Split::Test).is_err());
    folder.write("test.bin", &records(&[(&[3, 5], 1)]));
    assert_eq!(
        Memory::read_cifar100(&folder.0, Split::Test).unwrap().len(),
        1
    );
}
