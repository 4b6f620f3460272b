//! Several files with an index.

use std::fs;
use std::path::PathBuf;

use super::*;

/// A folder of one test's own, deleted at its end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let name = format!("wgpu-cnn-index-{name}-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(path.join("below")).unwrap();
        Self(path)
    }

    /// Writes a file.
    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, bytes).unwrap();
        path
    }

    /// The path of an index of this text.
    fn index(&self, text: &str) -> PathBuf {
        self.write("model.safetensors.index.json", text)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The two files of [`model`].
fn parts(folder: &Folder) {
    let one = tensors(&[("0.weight", "F32", &[2, 3], 24)]);
    let mut two = tensors(&[("0.bias", "F32", &[2], 8)]);
    let end = two.len();
    two[end - 4..].copy_from_slice(&2.5f32.to_le_bytes());
    folder.write("model-00001-of-00002.safetensors", one);
    folder.write("below/model-00002-of-00002.safetensors", two);
}

const GOOD: &str = r#"{"metadata": {"total_size": 32}, "weight_map": {
    "0.weight": "model-00001-of-00002.safetensors",
    "0.bias": "below/model-00002-of-00002.safetensors"}}"#;

#[test]
fn tensors_are_read_from_the_files_that_an_index_names() {
    let folder = Folder::new("good");
    parts(&folder);
    let path = folder.index(GOOD);
    let model = model();
    let weights = Weights::file(&path);
    assert_eq!(weights.check(&model).unwrap().loaded.len(), 2);
    let mut opened = weights.open(&model.graph).unwrap();
    let bias = opened.read(&model.graph, ParameterId(1)).unwrap();
    assert_eq!(bias.unwrap(), [0.0, 2.5]);
    // The options are those of any file.
    let renamed = Weights::file(&path).skip("0.bias").check(&model).unwrap();
    assert_eq!(renamed.unused, ["0.bias"]);
    let one = folder.0.join("model-00001-of-00002.safetensors");
    let two = folder.0.join("below/model-00002-of-00002.safetensors");
    let both = Weights::file(one).and_file(two).check(&model).unwrap();
    assert_eq!(both.loaded.len(), 2);
}

#[test]
fn an_index_that_is_none_or_leads_elsewhere_is_refused() {
    let folder = Folder::new("bad");
    parts(&folder);
    let outside = folder.0.join("model-00001-of-00002.safetensors");
    let outside = outside.to_str().unwrap().replace('\\', "/");
    let one = "model-00001-of-00002.safetensors";
    let named = |name: &str| format!(r#"{{"weight_map": {{"0.weight": {name:?}}}}}"#);
    let cases = [
        (String::new(), "the index: EOF"),
        ("[]".into(), "the index: invalid type"),
        ("{}".into(), "the index has no \"weight_map\""),
        (r#"{"weight_map": []}"#.into(), "the index: invalid type"),
        (
            r#"{"weight_map": {"a": 3}}"#.into(),
            "the index: invalid type",
        ),
        (named("../other.safetensors"), "not in its folder"),
        (named("below/../../other.safetensors"), "not in its folder"),
        (
            named("below/../model-00001-of-00002.safetensors"),
            "not in its folder",
        ),
        (named(&outside), "not in its folder"),
        (named("."), "not in its folder"),
        (named(""), "not in its folder"),
        (named("/"), "not in its folder"),
        (named("below"), "is a folder, not a file"),
        (named("nothing.safetensors"), "nothing.safetensors: "),
        (
            named("model.safetensors.index.json"),
            "not a safetensors file",
        ),
        (
            format!(r#"{{"weight_map": {{"0.weight": {one:?}, "0.bias": {one:?}}}}}"#),
            "tensor \"0.bias\" is not in the file \"model-00001-of-00002.safetensors\"",
        ),
        (
            format!(r#"{{"weight_map": {{"x": {one:?}}}}}"#),
            "tensor \"0.weight\" is not in the index as here",
        ),
        (named(one), "there is no tensor \"0.bias\""),
    ];
    for (text, reason) in cases {
        let path = folder.index(&text);
        match Weights::file(&path).check(&model()) {
            Err(error @ Error::File { .. }) => {
                let said = error.to_string();
                assert!(said.contains(reason), "{text}: {said}, not {reason}");
            }
            other => panic!("{text}: {other:?}"),
        }
    }
    let path = folder.index(GOOD);
    let two = "below/model-00002-of-00002.safetensors";
    let bytes = fs::read(folder.0.join(two)).unwrap();
    folder.write(two, &bytes[..bytes.len() - 1]);
    let said = Weights::file(&path)
        .check(&model())
        .unwrap_err()
        .to_string();
    assert!(
        said.contains("00002-of-00002.safetensors: 7 bytes"),
        "{said}"
    );
}
