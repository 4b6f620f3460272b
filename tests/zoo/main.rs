//! The networks of `zoo` against PyTorch: names and shapes of all, and the numbers of at least one of each
//! family. README.md says where they come from.
//!
//! `WGPU_CNN_NETWORK` limits the numbers to one case, `WGPU_CNN_TEST_LARGE=1` adds those that take long. With
//! `-- --nocapture` a table says how far each is off.

mod counter;
#[path = "../common/device.rs"]
#[allow(dead_code)] // each suite takes a part of it
mod device;
mod files;
mod names;
mod numbers;
mod sides;
mod weights;

use std::collections::BTreeSet;

use numbers::{Case, Numbers};
use wgpu_cnn::zoo;

#[test]
fn names_and_shapes_are_those_of_the_state_dicts() {
    let networks = names::networks();
    for name in zoo::NAMES {
        let expected = &networks[name];
        for auxiliary in [true, false] {
            let model = zoo::named(name).unwrap().auxiliary(auxiliary).build();
            let model = model.unwrap_or_else(|error| panic!("{name}: {error}"));
            let mut got: Vec<names::Entry> = model
                .parameters()
                .map(|(name, shape)| (name.to_string(), shape.to_vec()))
                .collect();
            let heads = ["aux1.", "aux2.", "AuxLogits.", "aux_classifier."];
            let is_head = |name: &str| heads.iter().any(|head| name.starts_with(head));
            let mut expected = expected.clone();
            expected.retain(|(name, _)| auxiliary || !is_head(name));
            // PyTorch lists a module's own parameters before those of its layers: here they follow the layers.
            for entries in [&mut got, &mut expected] {
                entries.sort_by_key(|(name, _)| name.ends_with("layer_scale"));
            }
            for (got, expected) in got.iter().zip(&expected) {
                assert_eq!(got, expected, "{name}");
            }
            assert_eq!(got.len(), expected.len(), "{name}");
        }
    }
    let named: BTreeSet<&str> = zoo::NAMES.into();
    assert_eq!(named, networks.keys().copied().collect());
}

/// They are published to three places; in evaluation, where networks that classify have no auxiliary outputs and
/// those that segment have theirs.
#[test]
fn multiply_adds_are_those_that_torchvision_publishes() {
    let mut networks = BTreeSet::new();
    for line in include_str!("operations.txt").lines() {
        let cells: Vec<&str> = line.split(' ').collect();
        let (name, side) = (cells[0], cells[1].parse().unwrap());
        let segments = ["fcn_", "deeplabv3_", "lraspp_"];
        let segments = segments.iter().any(|family| name.starts_with(family));
        let network = zoo::named(name).unwrap().input([3, side, side]);
        let model = network.auxiliary(segments).build().unwrap();
        let ours = model.summary().total().multiply_adds as f64 * 1e-9;
        let theirs: f64 = cells[2].parse().unwrap();
        assert!(
            (ours - theirs).abs() <= 0.000_501,
            "{name}: {ours} for {theirs}"
        );
        networks.insert(name);
    }
    let known = zoo::NAMES.into_iter().filter(|&name| name != "unet");
    assert_eq!(networks, known.collect());
}

#[test]
fn each_family_has_numbers() {
    // `resnet` of `resnet18`, `vgg` of `vgg11_bn`.
    let family = |name: &str| {
        let end = name.find(|c: char| !c.is_alphabetic());
        name[..end.unwrap_or(name.len())].to_string()
    };
    let with_numbers: BTreeSet<String> = Case::all()
        .iter()
        .map(|case| family(&case.network))
        .collect();
    let all: BTreeSet<String> = zoo::NAMES.iter().map(|name| family(name)).collect();
    assert_eq!(with_numbers, all);
}

/// Whether the environment asks for a case.
fn is_asked_for(case: &Case) -> bool {
    match std::env::var("WGPU_CNN_NETWORK") {
        Ok(name) => name == case.name,
        Err(_) => {
            !case.large || std::env::var("WGPU_CNN_TEST_LARGE").is_ok_and(|value| value == "1")
        }
    }
}

/// Holds the numbers of a side against PyTorch's: each tensor may be off by what `bound` says.
fn hold(
    side: &str,
    compute: impl Fn(&Case) -> wgpu_cnn::Result<Numbers>,
    bound: impl Fn(&Case, f64) -> f64,
) {
    let (mut failures, mut tried) = (Vec::new(), 0);
    for case in Case::all().iter().filter(|case| is_asked_for(case)) {
        let start = std::time::Instant::now();
        let numbers = compute(case).unwrap_or_else(|error| panic!("{}: {error}", case.name));
        let names: BTreeSet<&String> = numbers.keys().collect();
        let expected = case.tensors.iter().map(|stored| &stored.name).collect();
        assert_eq!(names, expected, "{}", case.name);
        let mut worst = [
            ("logits", 0.0f64, 0.0f64),
            ("loss", 0.0, 0.0),
            ("gradients", 0.0, 0.0),
        ];
        for stored in &case.tensors {
            let difference = stored.difference(&numbers[&stored.name]);
            let at = match &*stored.name {
                "logits" => 0,
                "losses" | "statistics norms" => 1,
                _ => 2,
            };
            let float32 = case.float32(stored);
            worst[at].1 = worst[at].1.max(difference);
            worst[at].2 = worst[at].2.max(float32);
            if difference > bound(case, float32) {
                failures.push(format!(
                    "{} on the {side}: {} is off by {difference:.1e}, PyTorch's f32 by {float32:.1e}",
                    case.name, stored.name
                ));
            }
        }
        let columns = worst.map(|(what, ours, theirs)| format!("{what} {ours:.1e} ({theirs:.1e})"));
        let seconds = start.elapsed().as_secs_f64();
        println!(
            "{:<32} {side} {} {seconds:.1} s",
            case.name,
            columns.join(" ")
        );
        tried += 1;
    }
    assert!(tried > 0, "no case is called as WGPU_CNN_NETWORK says");
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// In `f64` both sides have 2^-29 of the roundings that PyTorch's `f32` has. But the gradient of PyTorch's hard sigmoid
/// has a sixth in `f32` in it, which is off by 2^-25.
#[test]
fn numbers_on_the_cpu_are_those_of_pytorch() {
    hold("CPU", sides::on_cpu, |case, _| {
        match case.network.contains("mobilenet_v3") {
            true => 1e-7,
            false => 1e-10,
        }
    });
}

/// Where a value lies within a rounding of the kink of an activation, or two values of a pooling window within one of
/// each other, a gradient in `f32` is another one. What PyTorch's own `f32` is off by says how often that is so, and
/// how much is made of a rounding on its way through the network.
#[test]
fn numbers_on_the_gpu_are_those_of_pytorch() {
    let Some(gpu) = device::plain() else { return };
    // Winograd's algorithm rounds a little more, and Inception v3 makes much of what is rounded.
    for (side, direct_only, times) in [("GPU by direct sums", true, 8.0), ("GPU", false, 32.0)] {
        hold(
            side,
            |case| sides::on_gpu(gpu, case, direct_only),
            |_, float32| times * float32 + 4e-6,
        );
    }
}
