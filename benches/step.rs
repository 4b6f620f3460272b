//! Whole training steps on the GPU and on the CPU reference: `cargo bench --bench step`, or
//! `cargo bench --bench step -- lenet-64` for one of them.
//!
//! Ids are `step/<network>-<batch>/<gpu|cpu>`. An iteration uploads a batch, goes forward and
//! backward, updates, and reads the loss back. Before the GPU is timed, its gradients and its losses
//! are held against the CPU's.
//!
//! `resnet-18-64`, on images of 224x224, runs on the GPU alone, and not on a software adapter unless
//! `WGPU_CNN_BENCH_LARGE=1`. `benches/with_pytorch.py` times the same steps in PyTorch.

mod common;

#[path = "common/networks.rs"]
mod networks;
#[path = "common/resnet.rs"]
mod resnet;

use std::cell::OnceCell;

use common::{Group, Samples};
use criterion::{BenchmarkId, Throughput};
use networks::{lenet, vgg};
use wgpu_cnn::{Gpu, Model, Optimizer, Trainer, TrainerBuilder};

/// A network as it is timed.
struct Case {
    name: &'static str,
    batch: usize,
    input: [usize; 3],
    model: fn([usize; 3]) -> Model,
    optimizer: Optimizer,
    /// Of each convolution and dense layer, the weights and the positions that each is used at.
    products: Vec<(usize, usize)>,
    classes: usize,
    /// What the norm of the first gradients' difference may be of their own. Where there are many ReLUs and
    /// few positions to a normalisation, an argument that is nearly zero takes the other branch now
    /// and then.
    tolerance: f64,
    /// Whether it runs on hardware alone: the GPU's steps, and nothing to hold them against.
    large: bool,
}

fn main() {
    let gpu = common::adapter();
    let momentum = Optimizer::from(Optimizer::sgd(0.01).momentum(0.9));
    let lenet = |name, batch| Case {
        name,
        batch,
        input: [1, 28, 28],
        model: lenet,
        optimizer: momentum,
        products: vec![
            (32 * 25, 24 * 24),
            (64 * 32 * 25, 8 * 8),
            (1024 * 128, 1),
            (128 * 10, 1),
        ],
        classes: 10,
        tolerance: 1e-3,
        large: false,
    };
    let vgg = Case {
        name: "vgg-64",
        batch: 64,
        input: [3, 32, 32],
        model: vgg,
        optimizer: Optimizer::adam(1e-3).into(),
        products: vec![
            (32 * 3 * 9, 32 * 32),
            (32 * 32 * 9, 32 * 32),
            (64 * 32 * 9, 16 * 16),
            (64 * 64 * 9, 16 * 16),
            (128 * 64 * 9, 8 * 8),
            (128 * 128 * 9, 8 * 8),
            (2048 * 256, 1),
            (256 * 10, 1),
        ],
        classes: 10,
        tolerance: 1e-3,
        large: false,
    };
    let resnet = |name, batch, side, large| Case {
        name,
        batch,
        input: [3, side, side],
        model: resnet::model,
        optimizer: momentum,
        products: resnet::products(side),
        classes: resnet::CLASSES,
        tolerance: 1e-1,
        large,
    };
    let cases = [
        lenet("lenet-64", 64),
        lenet("lenet-256", 256),
        vgg,
        resnet("resnet-18-8", 8, 64, false),
        resnet("resnet-18-64", 64, 224, true),
    ];
    let mut criterion = common::criterion();
    let mut group = common::group(&mut criterion, "step");
    for case in cases {
        if !case.large || common::large(&gpu, case.name) {
            bench(&mut group, &gpu, &case);
        }
    }
    group.finish();
    criterion.final_summary();
}

fn bench(group: &mut Group, gpu: &Gpu, case: &Case) {
    let work = Throughput::Elements(case.flops());
    group.throughput(work.clone());
    let (input, labels) = case.data();
    let sides: [(&str, &dyn Fn() -> Trainer); 2] = [
        ("gpu", &|| {
            if !case.large {
                check(case, gpu);
            }
            case.trainer().on(gpu).unwrap()
        }),
        ("cpu", &|| case.trainer().on_cpu().unwrap()),
    ];
    let sides = &sides[..if case.large { 1 } else { 2 }];
    for &(side, make) in sides {
        // Made only for the sides that the command line asks for, and once.
        let mut trainer = OnceCell::new();
        let mut samples = Samples::default();
        group.bench_function(BenchmarkId::new(case.name, side), |bencher| {
            trainer.get_or_init(make);
            let trainer = trainer.get_mut().unwrap();
            samples.iter(bencher, || {
                trainer.step(&input, &labels).unwrap();
                trainer.loss().unwrap()
            });
        });
        if side == "gpu" {
            samples.print_share(gpu, &work);
        }
    }
}

impl Case {
    fn trainer(&self) -> TrainerBuilder {
        let model = (self.model)(self.input);
        Trainer::builder(model)
            .batch(self.batch)
            .optimizer(self.optimizer)
            .seed(7)
    }

    /// Additions and multiplications of the products of a step: forward, weight gradient and, from
    /// the second layer on, input gradient.
    fn flops(&self) -> u64 {
        let products = self.products.iter().enumerate();
        let passes = products.map(|(layer, (weights, positions))| {
            weights * positions * if layer == 0 { 2 } else { 3 }
        });
        (2 * self.batch * passes.sum::<usize>()) as u64
    }

    /// Noise, and labels that a network can learn from it.
    fn data(&self) -> (Vec<f32>, Vec<u8>) {
        let len = self.batch * self.input.iter().product::<usize>();
        let pixel = |at: u32| {
            let bits = at.wrapping_mul(0x9e37_79b9);
            ((bits ^ (bits >> 15)).wrapping_mul(0x85eb_ca6b) >> 8) as f32 / (1 << 24) as f32
        };
        let labels = (0..self.batch).map(|image| (image % self.classes.min(256)) as u8);
        ((0..len as u32).map(pixel).collect(), labels.collect())
    }
}

/// Three steps on both sides: the first one's gradients, each one's loss.
fn check(case: &Case, gpu: &Gpu) {
    let (input, labels) = case.data();
    let mut on_gpu = case.trainer().on(gpu).unwrap();
    let mut on_cpu = case.trainer().on_cpu().unwrap();
    let mut losses = Vec::new();
    for step in 0..3 {
        on_gpu.step(&input, &labels).unwrap();
        on_cpu.step(&input, &labels).unwrap();
        let (got, expected) = (on_gpu.loss().unwrap(), on_cpu.loss().unwrap());
        // The first loss differs by rounding alone; later ones also by what rounding did to the
        // weights in between, where Adam makes much of small gradients.
        let tolerance = if step == 0 {
            1e-5
        } else {
            case.tolerance as f32
        };
        let near = (got - expected).abs() <= tolerance * expected.abs();
        assert!(
            near,
            "{}: loss {got} in step {step}, the reference's {expected}",
            case.name
        );
        losses.push(expected);
        if step == 0 {
            let names = on_gpu.model().parameters().map(|(name, _)| name);
            let learned = names.filter(|name| !name.contains(".running_"));
            learned.for_each(|name| {
                let [got, expected] = [&on_gpu, &on_cpu].map(|side| side.gradient(name).unwrap());
                let norm = |values: &mut dyn Iterator<Item = f32>| {
                    values.map(|v| f64::from(v).powi(2)).sum::<f64>().sqrt()
                };
                let size = norm(&mut expected.iter().copied());
                let off = norm(&mut got.iter().zip(&expected).map(|(a, b)| a - b));
                // Which a NaN fails.
                let near = size > 0.0 && off <= case.tolerance * size;
                assert!(
                    near,
                    "{}: {name}'s gradient of norm {size} is off by {off}",
                    case.name
                );
            });
        }
    }
    let moved = (losses[2] - losses[0]).abs() > 1e-2 * losses[0];
    assert!(moved, "{}: the losses {losses:?} do not move", case.name);
}
