//! Names that are mapped, left out, missing and not needed.

use super::*;
use crate::model::LoadReport;

/// A file of zeros with the weights of [`model`] under these names.
fn named(weight: &str, bias: &str) -> Vec<u8> {
    tensors(&[(weight, "F32", &[2, 3], 24), (bias, "F32", &[2], 8)])
}

/// Names as a report has them.
fn names<const N: usize>(names: [&str; N]) -> Vec<String> {
    names.map(String::from).into()
}

/// What the usual model takes.
#[track_caller]
fn report(weights: Weights) -> LoadReport {
    weights.check(&model()).unwrap()
}

#[test]
fn names_are_mapped_in_the_order_of_the_calls() {
    let all = names(["0.weight", "0.bias"]);
    let parallel = Weights::bytes(named("module.0.weight", "module.0.bias"));
    let read = report(parallel.clone().strip_prefix("module."));
    assert_eq!(read.loaded, all);
    let pair = |a: &str, b: &str| (a.to_string(), b.to_string());
    let renamed = [
        pair("0.weight", "module.0.weight"),
        pair("0.bias", "module.0.bias"),
    ];
    assert_eq!(read.renamed, renamed);
    assert!(read.missing.is_empty() && read.unused.is_empty() && read.converted.is_empty());

    let plain = Weights::bytes(named("weight", "bias"));
    assert_eq!(report(plain.clone().add_prefix("0.")).loaded, all);
    let odd = Weights::bytes(named("fc.gamma", "fc.beta"));
    let table = [("gamma", "weight"), ("beta", "bias"), ("absent", "other")];
    let read = odd.clone().strip_prefix("fc.").rename_each(table);
    assert_eq!(report(read.add_prefix("0.")).loaded, all);
    let function = |name: &str| name.replace("fc.", "0.").replace("gamma", "weight");
    let read = odd.clone().rename(function);
    assert_eq!(report(read.rename_each([("0.beta", "0.bias")])).loaded, all);
    // The other way round the prefix is not there yet.
    let read = odd.add_prefix("0.").strip_prefix("fc.").partial(true);
    let said = refused(&read, &model());
    assert_eq!(said, "none of its 2 tensors is one of the model's");
}

#[test]
fn a_part_of_a_file_is_read_by_its_prefix() {
    let both = tensors(&[
        ("ema.0.weight", "F32", &[2, 3], 24),
        ("ema.0.bias", "F32", &[2], 8),
        ("last.0.weight", "F32", &[2, 3], 24),
        ("last.0.bias", "F32", &[2], 8),
    ]);
    let both = Weights::bytes(both);
    for (prefix, other) in [("ema.", "last."), ("last.", "ema.")] {
        let read = report(both.clone().strip_prefix(prefix));
        assert_eq!(read.loaded.len(), 2);
        let rest = ["0.weight", "0.bias"].map(|name| format!("{other}{name}"));
        assert_eq!(read.unused, rest);
    }
    // Within the prefix everything must be the model's.
    let more = tensors(&[
        ("ema.0.weight", "F32", &[2, 3], 24),
        ("ema.0.bias", "F32", &[2], 8),
        ("ema.1.weight", "F32", &[1], 4),
    ]);
    let said = refused(&Weights::bytes(more).strip_prefix("ema."), &model());
    assert_eq!(said, "tensor \"ema.1.weight\" is not one of the model's");
}

#[test]
fn what_would_have_helped_is_said() {
    let parallel = Weights::bytes(named("module.0.weight", "module.0.bias"));
    let said = refused(&parallel, &model());
    let hint =
        "; what is missing is there behind \"module.\", which `Weights::strip_prefix` takes off";
    assert!(said.ends_with(hint), "{said}");
    assert!(said.starts_with("tensor \"module.0.weight\" is not one of"));
    let other = Weights::bytes(named("module.0.weight", "other.0.bias"));
    assert!(!refused(&other, &model()).contains("strip_prefix"));
    let partial = refused(&parallel.partial(true), &model());
    assert_eq!(
        partial,
        format!("none of its 2 tensors is one of the model's{hint}")
    );
}

#[test]
fn what_is_skipped_may_be_there_or_not_and_in_any_shape() {
    let other_head = tensors(&[("0.weight", "F32", &[5, 3], 60), ("0.bias", "F32", &[2], 8)]);
    let said = refused(&Weights::bytes(&other_head[..]), &model());
    assert_eq!(said, "tensor \"0.weight\" is [5, 3], the model's is [2, 3]");
    let read = report(Weights::bytes(&other_head[..]).skip("*.weight"));
    assert_eq!(read.loaded, names(["0.bias"]));
    assert_eq!(read.skipped, names(["0.weight"]));
    assert_eq!(read.unused, names(["0.weight"]));
    let read = report(Weights::bytes(other_head).skip(|name: &str| name.contains("weight")));
    assert_eq!(read.skipped, names(["0.weight"]));

    let no_head = tensors(&[("0.bias", "F32", &[2], 8), ("aux.x", "F32", &[1], 4)]);
    let read = report(Weights::bytes(&no_head[..]).skip("0.weight").skip("aux.*"));
    assert_eq!(read.unused, names(["aux.x"]));
    let said = refused(&Weights::bytes(no_head).skip("0.weight"), &model());
    assert_eq!(said, "tensor \"aux.x\" is not one of the model's");
    // All of them: nothing is read, as was asked for.
    let read = report(Weights::bytes(named("0.weight", "0.bias")).skip("*"));
    assert_eq!((read.loaded.len(), read.skipped.len()), (0, 2));
}

#[test]
fn a_partial_load_says_what_is_missing_and_refuses_other_shapes() {
    let half = tensors(&[("0.bias", "F32", &[2], 8), ("x", "F32", &[1], 4)]);
    let read = Weights::bytes(half).partial(true);
    let read = report(read);
    assert_eq!(read.loaded, names(["0.bias"]));
    assert_eq!(read.missing, names(["0.weight"]));
    assert_eq!(read.unused, names(["x"]));
    let said = read.to_string();
    assert_eq!(said, "1 loaded, 1 missing: 0.weight, 1 unused: x");
    let other = tensors(&[("0.weight", "F32", &[3, 2], 24), ("0.bias", "F32", &[2], 8)]);
    let said = refused(&Weights::bytes(other).partial(true), &model());
    assert_eq!(said, "tensor \"0.weight\" is [3, 2], the model's is [2, 3]");
}

#[test]
fn all_that_is_wrong_is_listed_up_to_a_bound() {
    let mut builder = Model::builder([1]);
    for _ in 0..20 {
        builder = builder.dense(1);
    }
    let model = builder.build().unwrap();
    let wrong: Vec<(String, usize)> = (0..20).map(|at| (format!("{at}.weight"), at + 2)).collect();
    let foreign: Vec<String> = (0..7)
        .map(|at| format!("x{at}{}", "y".repeat(500)))
        .collect();
    let mut all: Vec<(&str, &str, Vec<usize>, usize)> = Vec::new();
    for (name, len) in &wrong {
        all.push((name, "F32", vec![*len], 4 * len));
    }
    for name in &foreign {
        all.push((name, "F32", vec![1], 4));
    }
    let all: Vec<(&str, &str, &[usize], usize)> = all
        .iter()
        .map(|(name, dtype, shape, len)| (*name, *dtype, &shape[..], *len))
        .collect();
    let said = refused(&Weights::bytes(tensors(&all)), &model);
    for expected in [
        "tensor \"0.weight\" is [2], the model's is [1, 1]; tensor \"1.weight\" is [3]",
        "and 15 more",
        "there is no tensor \"0.bias\"; there is no tensor \"1.bias\"",
        "tensor \"x0yyyy",
        "and 2 more",
    ] {
        assert!(said.contains(expected), "{said}, not {expected}");
    }
    assert_eq!(said.matches("and 15 more").count(), 2);
    assert!(said.len() < 2000, "{}", said.len());
}

#[test]
fn shapes_of_many_axes_are_cut_short() {
    let long = vec![1; 100_000];
    let header = json!({ "0.weight": { "dtype": "F32", "shape": long, "data_offsets": [0, 4] } });
    let weights = Weights::bytes(file(&header.to_string(), 4)).skip("0.bias");
    let said = refused(&weights, &model());
    assert_eq!(
        said,
        "tensor \"0.weight\" is [1, 1, 1, 1, 1, 1, 1, 1].. of 100000 axes, the model's is [2, 3]"
    );
}

#[test]
fn two_tensors_of_one_name_are_an_error() {
    let twice = named("a.weight", "b.weight");
    let weights = Weights::bytes(twice).rename(|_| "0.weight".into());
    let said = refused(&weights, &model());
    assert_eq!(
        said,
        "tensors \"a.weight\" and \"b.weight\" are both \"0.weight\" here"
    );
    // Where the model does not read it, it does not matter.
    let read = report(weights.partial(true).skip("*"));
    assert_eq!(read.unused.len(), 2);
}

#[test]
fn bytes_of_several_files_are_one() {
    let one = tensors(&[("0.weight", "F32", &[2, 3], 24)]);
    let two = tensors(&[("0.bias", "F32", &[2], 8)]);
    let all = Weights::bytes(&one[..]).and_bytes(&two[..]);
    assert_eq!(report(all.clone()).loaded.len(), 2);
    let three = all.clone().and_bytes(one);
    let said = three.check(&model()).unwrap_err().to_string();
    assert_eq!(said, "the bytes: two files have a tensor \"0.weight\"");
    let broken = all.and_bytes(&two[..20]).check(&model());
    let said = broken.unwrap_err().to_string();
    assert!(said.starts_with("the bytes[2]: the file ends"), "{said}");
}

#[test]
fn tied_tensors_are_found_under_each_of_their_names() {
    // As `safetensors.torch.save_model` writes a module in which `fc.weight` is `0.weight` too.
    let header = r#"{"__metadata__": {"format": "pt", "0.weight": "fc.weight"},
        "0.bias": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]},
        "fc.weight": {"dtype": "F32", "shape": [2, 3], "data_offsets": [8, 32]}}"#;
    let mut bytes = file(header, 32);
    let end = bytes.len();
    bytes[end - 4..].copy_from_slice(&1.5f32.to_le_bytes());
    let weights = Weights::bytes(bytes);
    let read = report(weights.clone());
    assert_eq!(read.loaded, names(["0.weight", "0.bias"]));
    assert!(read.unused.is_empty());
    let graph = model().graph;
    let mut opened = weights.open(&graph).unwrap();
    let values = opened.read(&graph, ParameterId(0)).unwrap();
    assert_eq!(values.unwrap(), [0.0, 0.0, 0.0, 0.0, 0.0, 1.5]);
    // Under a name that the file has itself, its own tensor is meant.
    let header = r#"{"__metadata__": {"0.bias": "0.weight", "x": "nothing"},
        "0.bias": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]},
        "0.weight": {"dtype": "F32", "shape": [2, 3], "data_offsets": [8, 32]}}"#;
    assert_eq!(report(Weights::bytes(file(header, 32))).loaded.len(), 2);
}

#[test]
fn names_go_back_to_what_they_were() {
    let values: [(&str, &[f32]); 2] = [("0.weight", &[0.5; 6]), ("0.bias", &[0.25; 2])];
    let original = named("module.fc.w", "module.b");
    let load = Weights::bytes(original)
        .strip_prefix("module.")
        .rename_each([("fc.w", "0.weight"), ("b", "0.bias")]);
    let read = report(load.clone());
    let back = SaveOptions::new().rename_back(&read);
    let bytes = saved(&back, &model(), &values).unwrap();
    assert_eq!(report(load_bytes(&load, bytes)).loaded.len(), 2);

    let options = SaveOptions::new().strip_prefix("0.").skip("*.bias");
    let bytes = saved(&options.add_prefix("module."), &model(), &values).unwrap();
    let read = report(Weights::bytes(bytes).partial(true).rename(|name| {
        assert_eq!(name, "module.weight");
        "0.weight".into()
    }));
    assert_eq!(read.loaded, names(["0.weight"]));
}

/// The same options for other bytes.
fn load_bytes(options: &Weights, bytes: Vec<u8>) -> Weights {
    let mut weights = Weights::bytes(bytes);
    weights.names = options.names.clone();
    weights
}

#[test]
fn names_that_no_file_can_have_are_an_error() {
    let refusal = |options: SaveOptions| match options.layout(&model().graph).map(|_| ()) {
        Err(Error::Argument { argument, reason }) => format!("{argument}: {reason}"),
        other => panic!("{other:?}"),
    };
    let same = SaveOptions::new().rename(|_| "a".into());
    assert_eq!(
        refusal(same),
        "names in a file: two tensors would be called \"a\""
    );
    let none = "weights: none would be written";
    assert_eq!(refusal(SaveOptions::new().skip("*")), none);
    assert_eq!(refusal(SaveOptions::new().strip_prefix("fc.")), none);
    let metadata = SaveOptions::new()
        .skip("0.bias")
        .rename(|_| "__metadata__".into());
    assert!(refusal(metadata).contains("__metadata__"));
    let empty = Model::builder([3]).relu().build().unwrap();
    SaveOptions::new().layout(&empty.graph).unwrap();
}
