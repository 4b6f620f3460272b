//! Seeded faults: a check that cannot fail would be worthless.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::format::{self, Array, Case, Values};
use crate::outputs::compare;
use crate::work::Work;
use crate::{outputs, own_folder};

/// In every case, each output with one element off, one not finite, one too few, or missing.
#[test]
fn every_output_of_every_case_is_looked_at() {
    let entries = format::read(&own_folder()).unwrap();
    assert!(entries.len() >= 166);
    for entry in entries {
        let case = entry.case.unwrap();
        let right = outputs(&case, &Work::of(&case).unwrap(), None).unwrap();
        let fails = |name: &str, values: Option<Values>| {
            let mut wrong = right.clone();
            match values {
                Some(values) => wrong.0.insert(name.into(), values),
                None => wrong.0.remove(name),
            };
            assert!(
                compare(&wrong, &case.outputs, 0.0).is_err(),
                "{} {name}",
                entry.id
            );
        };
        for (name, expected) in &case.outputs {
            fails(name, None);
            match &right.0[name] {
                Values::Integers(values) => {
                    let mut wrong = values.clone();
                    wrong[values.len() / 2] += 1;
                    fails(name, Some(Values::Integers(wrong)));
                }
                Values::Floats(values) => {
                    let at = values.len() / 2;
                    let with = |value: f32| {
                        let mut wrong = values.clone();
                        wrong[at] = value;
                        Some(Values::Floats(wrong))
                    };
                    let off = 3.0 * expected.tolerance(values[at].into()) + 1e-30;
                    match values[at].is_finite() {
                        true => {
                            let wrong = f64::from(values[at]) + off;
                            fails(name, with((wrong as f32).max(values[at].next_up())));
                            fails(name, with(f32::NAN));
                        }
                        false => {
                            fails(name, with(0.0));
                            fails(
                                name,
                                with(if values[at].is_nan() {
                                    f32::INFINITY
                                } else {
                                    -values[at]
                                }),
                            );
                        }
                    }
                    fails(name, Some(Values::Floats(values[1..].to_vec())));
                }
            }
        }
    }
}

fn case(op: &str, options: Value, inputs: &[(&str, &[usize])]) -> Case {
    let array = |shape: &[usize]| {
        let values = Values::Floats(vec![0.5; shape.iter().product()]);
        Array {
            shape: shape.to_vec(),
            values,
        }
    };
    let inputs = inputs
        .iter()
        .map(|&(name, shape)| (name.to_string(), array(shape)))
        .collect();
    let options: Map<String, Value> = options.as_object().unwrap().clone();
    Case {
        op: op.into(),
        options,
        inputs,
        outputs: BTreeMap::new(),
    }
}

#[test]
fn what_is_not_known_is_refused_by_name() {
    let x: (&str, &[usize]) = ("x", &[1, 2, 4, 4]);
    let network = |layer: Value| json!({ "input": [1, 2], "layers": [{ "op": "flatten" }, layer] });
    let cosine = |mut options: Value| {
        options["scheduler"] = "CosineAnnealingLR".into();
        json!({ "scheduler": "SequentialLR", "milestones": [], "schedulers": [options] })
    };
    let refused = [
        (case("log_sigmoid", json!({}), &[x]), "\"log_sigmoid\""),
        (
            case("relu", json!({ "inplace": true }), &[x]),
            "\"inplace\"",
        ),
        (case("relu", json!({}), &[x, ("mask", &[1])]), "\"mask\""),
        (
            case(
                "max_pool2d",
                json!({ "kernel": [2, 2], "storage_order": 1 }),
                &[x],
            ),
            "\"storage_order\"",
        ),
        (
            case("max_pool3d", json!({ "kernel": [2, 2, 2] }), &[x]),
            "\"max_pool3d\"",
        ),
        (
            case(
                "avg_pool2d",
                json!({ "kernel": [2, 2], "dilation": [2, 2] }),
                &[x],
            ),
            "\"dilation\"",
        ),
        (
            case(
                "max_pool2d",
                json!({ "kernel": [2, 2], "padding": "reflect" }),
                &[x],
            ),
            "reflect",
        ),
        (
            case("batch_norm2d", json!({ "running_var": "biased" }), &[x]),
            "biased",
        ),
        (
            case(
                "mse",
                json!({ "reduction": "none" }),
                &[x, ("target", &[1])],
            ),
            "\"none\"",
        ),
        (case("mse", json!({}), &[x, ("weight", &[1])]), "\"weight\""),
        (
            case("bce_with_logits", json!({ "pos_weight": 2 }), &[x]),
            "\"pos_weight\"",
        ),
        (
            case("adam", json!({ "maximize": true }), &[("p0", &[1])]),
            "\"maximize\"",
        ),
        (
            case(
                "param_groups",
                json!({ "param_groups": [{ "params": ["p0"], "maximize": true }] }),
                &[("p0", &[1])],
            ),
            "\"maximize\"",
        ),
        (
            case("schedule", json!({ "scheduler": "LambdaLR" }), &[]),
            "\"LambdaLR\"",
        ),
        (
            case("schedule", cosine(json!({ "T_max": 3, "eta": 1 })), &[]),
            "\"eta\"",
        ),
        (
            case("net", network(json!({ "op": "lstm" })), &[]),
            "\"lstm\"",
        ),
        (
            case("net", network(json!({ "op": "relu", "slope": 1 })), &[]),
            "\"slope\"",
        ),
        (
            case("net", network(json!({ "op": "residual", "gate": [] })), &[]),
            "\"gate\"",
        ),
    ];
    for (case, name) in refused {
        let error = Work::of(&case).map(|_| ()).unwrap_err();
        assert!(error.contains(name), "{}: {error}", case.op);
    }
}

#[test]
fn a_folder_without_cases_is_refused() {
    let folder = std::env::temp_dir().join(format!("wgpu-cnn-no-cases-{}", std::process::id()));
    assert!(format::read(&folder).is_err());
    std::fs::create_dir_all(&folder).unwrap();
    assert!(format::read(&folder).is_err());
    for text in ["", "{}", r#"{ "cases": [] }"#] {
        std::fs::write(folder.join("cases.json"), text).unwrap();
        assert!(format::read(&folder).is_err(), "{text}");
    }
    // A case whose tensors are missing fails by itself.
    let text = r#"{ "cases": [{ "id": "a", "group": "g", "op": "relu", "file": "none.safetensors",
        "inputs": { "x": { "shape": [1] } }, "outputs": {} }] }"#;
    std::fs::write(folder.join("cases.json"), text).unwrap();
    let entries = format::read(&folder).unwrap();
    assert!(
        entries[0]
            .case
            .as_ref()
            .is_err_and(|error| error.contains("none.safetensors"))
    );
    std::fs::remove_dir_all(&folder).unwrap();
}
