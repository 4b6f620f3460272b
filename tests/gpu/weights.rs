//! Weights on disk.

use std::path::{Path, PathBuf};

use safetensors::tensor::{Dtype, TensorView};
use wgpu_cnn::{Error, Gpu, Model, Trainer};

use crate::common::{assert_error, bits, plain_gpu, random, state, uniform};

/// A folder of one test's own, deleted at its end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("wgpu-cnn-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn model() -> Model {
    Model::builder([2, 6, 6])
        .conv2d(3, [2, 3])
        .relu()
        .residual(|body| body.push(wgpu_cnn::Conv2d::new(3, 3).padding(1)))
        .flatten()
        .dense(4)
        .build()
        .unwrap()
}

fn trainer(gpu: &Gpu, seed: u64) -> Trainer {
    Trainer::builder(model())
        .batch(2)
        .seed(seed)
        .on(gpu)
        .unwrap()
}

fn step(trainer: &mut Trainer) {
    trainer
        .step(&uniform(&mut random(51), 2 * 72), &[3u8, 1])
        .unwrap();
}

/// A tensor in a file: its name, type, shape and bytes.
type Stored<'a> = (&'a str, Dtype, &'a [usize], Vec<u8>);

/// Writes tensors as any other program would.
fn write(path: &Path, tensors: &[Stored]) {
    let views = tensors.iter().map(|(name, dtype, shape, data)| {
        (
            *name,
            TensorView::new(*dtype, shape.to_vec(), data).unwrap(),
        )
    });
    std::fs::write(path, safetensors::serialize(views, None).unwrap()).unwrap();
}

fn bytes(values: &[f32]) -> Vec<u8> {
    values
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect()
}

#[test]
fn weights_come_back_as_the_same_bits_on_any_device() {
    let Some(gpu) = plain_gpu() else { return };
    let folder = Folder::new("round-trip");
    let path = folder.file("weights.safetensors");
    let mut first = trainer(gpu, 1);
    let special = [f32::NAN, f32::INFINITY, -0.0, f32::from_bits(1)];
    step(&mut first);
    first.set_parameter("4.bias", &special).unwrap();
    first.save(&path).unwrap();
    assert_eq!(
        std::fs::read_dir(&folder.0).unwrap().count(),
        1,
        "a partial file is left"
    );

    let mut second = trainer(gpu, 2);
    assert_ne!(state(&first), state(&second));
    second.load(&path).unwrap();
    assert_eq!(state(&first), state(&second));
    let third = Trainer::builder(model()).weights(&path).on(gpu).unwrap();
    assert_eq!(state(&first), state(&third));
    let cpu = Trainer::builder(model()).weights(&path).on_cpu().unwrap();
    assert_eq!(state(&first), state(&cpu));
    cpu.save(&path).unwrap(); // over the file that is there
    second.load(&path).unwrap();
    assert_eq!(state(&first), state(&second));
}

#[test]
fn the_state_of_a_torch_sequential_loads_as_it_is() {
    let Some(gpu) = plain_gpu() else { return };
    let folder = Folder::new("torch");
    let path = folder.file("model.safetensors");
    // torch.nn.Sequential(Conv2d(1, 2, 2), ReLU(), Flatten(), Linear(8, 2)), in another order.
    let conv: Vec<f32> = (0..8).map(|i| i as f32).collect();
    let linear: Vec<f32> = (0..16).map(|i| (i as f32 - 7.0) / 8.0).collect();
    let file = [
        ("3.weight", Dtype::F32, &[2, 8][..], bytes(&linear)),
        ("3.bias", Dtype::F32, &[2], bytes(&[0.5, -0.5])),
        ("0.bias", Dtype::F32, &[2], bytes(&[-20.0, 1.0])),
        ("0.weight", Dtype::F32, &[2, 1, 2, 2], bytes(&conv)),
    ];
    write(&path, &file);
    let model = Model::builder([1, 3, 3])
        .conv2d(2, 2)
        .relu()
        .flatten()
        .dense(2)
        .build()
        .unwrap();
    let mut trainer = Trainer::builder(model)
        .weights(&path)
        .batch(1)
        .on(gpu)
        .unwrap();
    assert_eq!(bits(&trainer.parameter("0.weight").unwrap()), bits(&conv));
    assert_eq!(bits(&trainer.parameter("3.weight").unwrap()), bits(&linear));
    // The network by hand.
    let x: Vec<f32> = (1..=9).map(|i| i as f32).collect();
    let window = |i: usize, j: usize| [0, 1, 3, 4].map(|offset| x[3 * i + j + offset]);
    let hidden: Vec<f32> = (0..2)
        .flat_map(|o| [(0, 0), (0, 1), (1, 0), (1, 1)].map(|(i, j)| (o, window(i, j))))
        .map(|(o, window)| {
            let sum: f32 = window.iter().zip(&conv[4 * o..]).map(|(x, w)| x * w).sum();
            (sum + [-20.0, 1.0][o]).max(0.0)
        })
        .collect();
    let row = |o: usize| -> f32 {
        hidden
            .iter()
            .zip(&linear[8 * o..])
            .map(|(h, w)| h * w)
            .sum::<f32>()
            + [0.5, -0.5][o]
    };
    assert_eq!(trainer.predict(&x).unwrap(), [row(0), row(1)]);
}

#[test]
fn files_that_do_not_fit_change_nothing() {
    let Some(gpu) = plain_gpu() else { return };
    let folder = Folder::new("misfits");
    let (good, bad) = (
        folder.file("good.safetensors"),
        folder.file("bad.safetensors"),
    );
    let mut spared = trainer(gpu, 1);
    spared.save(&good).unwrap();
    let file = std::fs::read(&good).unwrap();
    let parameters: Vec<(String, Vec<usize>, Vec<u8>)> = spared
        .model()
        .parameters()
        .map(|(name, shape)| {
            (
                name.into(),
                shape.to_vec(),
                bytes(&spared.parameter(name).unwrap()),
            )
        })
        .collect();
    let written = |edit: &dyn Fn(&mut Vec<Stored>)| {
        let tensors = parameters.iter();
        let tensors = tensors.map(|(n, s, d)| (n.as_str(), Dtype::F32, &s[..], d.clone()));
        let mut tensors = tensors.collect();
        edit(&mut tensors);
        write(&bad, &tensors);
        std::fs::read(&bad).unwrap()
    };
    let zeros = |count: usize| vec![0; count];
    let misfits: [(&str, Vec<u8>, &[&str]); 9] = [
        ("empty", vec![], &[]),
        ("truncated", file[..file.len() - 5].to_vec(), &[]),
        ("cut within the header", file[..20].to_vec(), &[]),
        (
            "foreign",
            b"\x89PNG\r\n\x1a\n and so on and so forth".to_vec(),
            &[],
        ),
        (
            "a tensor missing",
            written(&|t| drop(t.pop())),
            &["there is no tensor \"4.bias\""],
        ),
        (
            "a tensor too many",
            written(&|t| t.push(("5.weight", Dtype::F32, &[1], zeros(4)))),
            &["5.weight"],
        ),
        (
            "another shape",
            written(&|t| t[0].2 = &[3, 2, 3, 2]),
            &["0.weight", "[3, 2, 3, 2]", "[3, 2, 2, 3]"],
        ),
        (
            "another type",
            written(&|t| {
                let last = t.len() - 1;
                (t[last].1, t[last].3) = (Dtype::U16, zeros(8));
            }),
            &["4.bias", "U16"],
        ),
        (
            "weights of nothing",
            written(&|t| t.clear()),
            &["there is no tensor \"0.weight\""],
        ),
    ];
    let mut tried = trainer(gpu, 1);
    for (name, contents, words) in misfits {
        std::fs::write(&bad, contents).unwrap();
        let words: Vec<&str> = words.iter().copied().chain(["bad.safetensors"]).collect();
        assert_error(tried.load(&bad), "file", &words);
        let builder = || Trainer::builder(model()).weights(&bad);
        assert_error(builder().on(gpu), "file", &words);
        assert_error(builder().on_cpu(), "file", &words);
        assert_eq!(state(&spared), state(&tried), "{name}");
    }
    let nowhere = folder.file("no such folder").join("weights.safetensors");
    assert_error(tried.load(&nowhere), "file", &["no such folder"]);
    assert_error(tried.save(&nowhere), "file", &["no such folder"]);
    assert!(matches!(tried.load(&folder.0), Err(Error::File { .. })));
    step(&mut spared);
    step(&mut tried);
    assert_eq!(state(&spared), state(&tried));
    tried.load(&good).unwrap();
}
