//! Tensors of two devices do not meet in an operation.

use std::collections::BTreeSet;
use std::path::Path;

use wgpu_cnn::{
    Activation, AdaptiveMaxPool2d, Average, BatchNorm, Conv2d, ConvTranspose2d, Element, Error,
    Gpu, GroupNorm, LayerNorm, LayerNormChannels, LocalResponseNorm, MaxPool2d, Optimizer, Shape,
    Softmax, Tensor, ops, wgpu,
};

use crate::common::{plain_gpu, poisoned_gpus};

/// Makes the tensors of a call, one of which may be of another device.
struct Tensors<'a> {
    devices: [&'a Gpu; 2],
    /// The place of the one that is.
    foreign: Option<usize>,
    names: Vec<&'static str>,
}

impl Tensors<'_> {
    fn of<T: Element>(
        &mut self,
        name: &'static str,
        shape: impl Into<Shape>,
        value: T,
    ) -> Tensor<T> {
        let device = self.devices[usize::from(self.foreign == Some(self.names.len()))];
        self.names.push(name);
        let shape = shape.into();
        let values = vec![value; shape.len()];
        // A clone of a device is the device.
        Tensor::from_slice(&device.clone(), shape, &values).unwrap()
    }

    fn f32(&mut self, name: &'static str, shape: impl Into<Shape>) -> Tensor {
        self.of(name, shape, 0.5)
    }
}

type Call = fn(&mut Tensors) -> Result<(), Error>;

const X: [usize; 4] = [2, 4, 4, 4];
const GRADIENT: &str = "output gradient";

/// The functions of `ops` that take more than one tensor.
const CALLS: [(&str, Call); 35] = [
    ("activation_backward", |t| {
        let tensors = [t.f32("x", X), t.f32("y", X), t.f32(GRADIENT, X)];
        let [x, y, gradient] = &tensors;
        // One that is made from the value, and one from the argument.
        ops::activation_backward(Activation::Relu, x, y, gradient)?;
        ops::activation_backward(Activation::Gelu, x, y, gradient).map(drop)
    }),
    ("add", |t| {
        let (left, right) = (t.f32("left", X), t.f32("right", X));
        ops::add(&left, &right).map(drop)
    }),
    ("pointwise_linear", |t| {
        let (x, weight, bias) = (t.f32("x", X), t.f32("weight", [3, 4]), t.f32("bias", [3]));
        ops::pointwise_linear(&x, &weight, Some(&bias)).map(drop)
    }),
    ("mul", |t| {
        let (left, right) = (t.f32("left", X), t.f32("right", [2, 4, 1, 1]));
        ops::mul(&left, &right).map(drop)
    }),
    ("mul_backward", |t| {
        let (left, right) = (t.f32("left", X), t.f32("right", [2, 4, 1, 1]));
        ops::mul_backward(&left, &right, &t.f32(GRADIENT, X)).map(drop)
    }),
    ("scale_forward", |t| {
        let (x, weight, bias) = (t.f32("x", X), t.f32("weight", [4]), t.f32("bias", [4]));
        ops::scale_forward(&x, &weight, Some(&bias)).map(drop)
    }),
    ("scale_backward", |t| {
        let (x, weight) = (t.f32("x", X), t.f32("weight", [4]));
        ops::scale_backward(&x, &weight, &t.f32(GRADIENT, X)).map(drop)
    }),
    ("concat", |t| {
        let tensors = ["tensors[0]", "tensors[1]", "tensors[2]"].map(|name| t.f32(name, X));
        ops::concat(&tensors.each_ref()).map(drop)
    }),
    ("conv2d_forward", |t| {
        let (x, weight) = (t.f32("x", X), t.f32("weight", [3, 4, 3, 3]));
        let bias = t.f32("bias", [3]);
        ops::conv2d_forward(&x, &weight, Some(&bias), &Conv2d::new(3, 3)).map(drop)
    }),
    ("conv2d_backward_input", |t| {
        let gradient = t.f32(GRADIENT, [2, 3, 2, 2]);
        let weight = t.f32("weight", [3, 4, 3, 3]);
        ops::conv2d_backward_input(&gradient, &weight, X, &Conv2d::new(3, 3)).map(drop)
    }),
    ("conv2d_backward_weight", |t| {
        let (x, gradient) = (t.f32("x", X), t.f32(GRADIENT, [2, 3, 2, 2]));
        ops::conv2d_backward_weight(&x, &gradient, &Conv2d::new(3, 3)).map(drop)
    }),
    ("conv_transpose2d_forward", |t| {
        let (x, weight) = (t.f32("x", X), t.f32("weight", [4, 3, 3, 3]));
        let bias = t.f32("bias", [3]);
        let layer = ConvTranspose2d::new(3, 3);
        ops::conv_transpose2d_forward(&x, &weight, Some(&bias), &layer).map(drop)
    }),
    ("conv_transpose2d_backward_input", |t| {
        let gradient = t.f32(GRADIENT, [2, 3, 6, 6]);
        let weight = t.f32("weight", [4, 3, 3, 3]);
        let layer = ConvTranspose2d::new(3, 3);
        ops::conv_transpose2d_backward_input(&gradient, &weight, X, &layer).map(drop)
    }),
    ("conv_transpose2d_backward_weight", |t| {
        let (x, gradient) = (t.f32("x", X), t.f32(GRADIENT, [2, 3, 6, 6]));
        let layer = ConvTranspose2d::new(3, 3);
        ops::conv_transpose2d_backward_weight(&x, &gradient, &layer).map(drop)
    }),
    ("matmul", |t| {
        let (a, b) = (t.f32("a", [2, 3]), t.f32("b", [3, 2]));
        ops::matmul(&a, false, &b, false).map(drop)
    }),
    ("linear_forward", |t| {
        let (x, weight) = (t.f32("x", [2, 3]), t.f32("weight", [5, 3]));
        ops::linear_forward(&x, &weight, Some(&t.f32("bias", [5]))).map(drop)
    }),
    ("batch_norm_forward", |t| {
        let x = t.f32("x", X);
        let [gamma, beta] = ["gamma", "beta"].map(|name| t.f32(name, [4]));
        let [mean, variance] = ["running mean", "running variance"].map(|name| t.f32(name, [4]));
        let running = [&mean, &variance, &t.f32("number of batches", [])];
        let layer = BatchNorm::new().momentum(None);
        ops::batch_norm_forward(&x, [&gamma, &beta], running, &layer).map(drop)
    }),
    ("batch_norm_forward_evaluation", |t| {
        let x = t.f32("x", X);
        let [gamma, beta] = ["gamma", "beta"].map(|name| t.f32(name, [4]));
        let running = ["running mean", "running variance"].map(|name| t.f32(name, [4]));
        let (running, layer) = (running.each_ref(), BatchNorm::new());
        ops::batch_norm_forward_evaluation(&x, [&gamma, &beta], running, &layer).map(drop)
    }),
    ("batch_norm_backward", |t| {
        let (x, gamma) = (t.f32("x", X), t.f32("gamma", [4]));
        let (statistics, gradient) = (t.f32("statistics", [4, 2]), t.f32(GRADIENT, X));
        ops::batch_norm_backward(&x, &gamma, &statistics, &gradient, &BatchNorm::new()).map(drop)
    }),
    ("batch_norm_backward_evaluation", |t| {
        let (x, gamma, layer) = (t.f32("x", X), t.f32("gamma", [4]), BatchNorm::new());
        let running = ["running mean", "running variance"].map(|name| t.f32(name, [4]));
        let (running, gradient) = (running.each_ref(), t.f32(GRADIENT, X));
        ops::batch_norm_backward_evaluation(&x, &gamma, running, &gradient, &layer).map(drop)
    }),
    ("layer_norm_channels_forward", |t| {
        let x = t.f32("x", X);
        let [gamma, beta] = ["gamma", "beta"].map(|name| t.f32(name, [4]));
        let layer = LayerNormChannels::new();
        ops::layer_norm_channels_forward(&x, [&gamma, &beta], &layer).map(drop)
    }),
    ("layer_norm_channels_backward", |t| {
        let (x, gamma) = (t.f32("x", X), t.f32("gamma", [4]));
        let (kept, gradient) = (t.f32("kept", [2, 16, 2]), t.f32(GRADIENT, X));
        let layer = LayerNormChannels::new();
        ops::layer_norm_channels_backward(&x, &gamma, &kept, &gradient, &layer).map(drop)
    }),
    ("group_norm_forward", |t| {
        let x = t.f32("x", X);
        let [gamma, beta] = ["gamma", "beta"].map(|name| t.f32(name, [4]));
        ops::group_norm_forward(&x, [&gamma, &beta], &GroupNorm::new(2)).map(drop)
    }),
    ("group_norm_backward", |t| {
        let (x, gamma, layer) = (t.f32("x", X), t.f32("gamma", [4]), GroupNorm::new(2));
        let (kept, gradient) = (t.f32("kept", [2, 2, 2]), t.f32(GRADIENT, X));
        ops::group_norm_backward(&x, &gamma, &kept, &gradient, &layer).map(drop)
    }),
    ("local_response_norm_backward", |t| {
        let tensors = [t.f32("x", X), t.f32("kept", X), t.f32(GRADIENT, X)];
        let [x, kept, gradient] = &tensors;
        let layer = LocalResponseNorm::new(3);
        ops::local_response_norm_backward(x, kept, gradient, &layer).map(drop)
    }),
    ("layer_norm_forward", |t| {
        let x = t.f32("x", [2, 5]);
        let [gamma, beta] = ["gamma", "beta"].map(|name| t.f32(name, [5]));
        ops::layer_norm_forward(&x, [&gamma, &beta], &LayerNorm::new()).map(drop)
    }),
    ("layer_norm_backward", |t| {
        let (x, gamma) = (t.f32("x", [2, 5]), t.f32("gamma", [5]));
        let (kept, gradient) = (t.f32("kept", [2, 2]), t.f32(GRADIENT, [2, 5]));
        ops::layer_norm_backward(&x, &gamma, &kept, &gradient).map(drop)
    }),
    ("optimizer_update", |t| {
        let (parameter, gradient) = (t.f32("parameter", [5]), t.f32("gradient", [5]));
        let state = ["state[0]", "state[1]"].map(|name| t.f32(name, [5]));
        ops::optimizer_update(Optimizer::adam(0.1), 1, &parameter, &gradient, &state).map(drop)
    }),
    ("average_update", |t| {
        let (parameter, averaged) = (t.f32("parameter", [5]), t.f32("average", [5]));
        ops::average_update(&Average::ema(0.5), 1, &parameter, &averaged).map(drop)
    }),
    ("max_pool2d_backward", |t| {
        let gradient = t.f32(GRADIENT, [2, 4, 2, 2]);
        let argmax = t.of("argmax", [2, 4, 2, 2], 0u32);
        ops::max_pool2d_backward(&gradient, &argmax, X, &MaxPool2d::new(2)).map(drop)
    }),
    ("adaptive_max_pool2d_backward", |t| {
        let gradient = t.f32(GRADIENT, [2, 4, 2, 2]);
        let argmax = t.of("argmax", [2, 4, 2, 2], 0u32);
        let layer = AdaptiveMaxPool2d::new(2);
        ops::adaptive_max_pool2d_backward(&gradient, &argmax, X, &layer).map(drop)
    }),
    ("prelu_forward", |t| {
        let (x, weight) = (t.f32("x", X), t.f32("weight", [4]));
        ops::prelu_forward(&x, &weight).map(drop)
    }),
    ("prelu_backward", |t| {
        let (x, weight) = (t.f32("x", X), t.f32("weight", [4]));
        ops::prelu_backward(&x, &weight, &t.f32(GRADIENT, X)).map(drop)
    }),
    ("softmax_backward", |t| {
        let (y, gradient) = (t.f32("y", [2, 3]), t.f32(GRADIENT, [2, 3]));
        ops::softmax_backward(&y, &gradient, &Softmax::new()).map(drop)
    }),
    ("softmax_pool_backward", |t| {
        let (x, pooled) = (t.f32("x", X), t.f32("pooled", [2, 4, 1, 1]));
        let (kept, gradient) = (t.f32("kept", [8, 2]), t.f32(GRADIENT, [2, 4, 1, 1]));
        ops::softmax_pool_backward(&x, (&pooled, &kept), &gradient).map(drop)
    }),
];

/// Those that take one, which is of the device where the result will be.
const OF_ONE: [&str; 26] = [
    "activation_forward",
    "adaptive_avg_pool2d_backward",
    "adaptive_avg_pool2d_forward",
    "adaptive_max_pool2d_forward",
    "add_backward",
    "avg_pool2d_backward",
    "avg_pool2d_forward",
    "bias_gradient",
    "channel_permute",
    "channel_permute_backward",
    "channel_shuffle",
    "dropout",
    "dropout_spans",
    "local_response_norm_forward",
    "loss",
    "max_pool2d_forward",
    "pad2d_backward",
    "pad2d_forward",
    "pixel_shuffle",
    "pixel_unshuffle",
    "slice",
    "slice_backward",
    "softmax_forward",
    "softmax_pool_forward",
    "upsample2d_backward",
    "upsample2d_forward",
];

/// The functions that `ops` makes public: each file re-exports all of its own. Of two that differ in who waits, the
/// one that blocks.
fn public() -> BTreeSet<String> {
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src/ops")];
    let mut names = BTreeSet::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = std::fs::read_to_string(path).unwrap();
            let functions = text.lines().filter_map(|line| line.strip_prefix("pub fn "));
            let ends = |letter: char| !letter.is_alphanumeric() && letter != '_';
            names.extend(functions.filter_map(|rest| Some(rest.split(ends).next()?.to_string())));
        }
    }
    names
}

#[test]
fn every_operation_refuses_a_tensor_of_another_device_by_name() {
    let Some(plain) = plain_gpu() else { return };
    let listed = CALLS.iter().map(|(name, _)| *name).chain(OF_ONE);
    assert_eq!(listed.map(String::from).collect::<BTreeSet<_>>(), public());
    let poisoned: Vec<_> = poisoned_gpus().map(|(_, gpu)| gpu).collect();
    let pairs = [[plain, poisoned[0]], [poisoned[0], poisoned[1]]];
    let mut refused = 0;
    for (devices, (call, run)) in pairs
        .into_iter()
        .flat_map(|pair| CALLS.map(|call| (pair, call)))
    {
        let tensors = |foreign| Tensors {
            devices,
            foreign,
            names: vec![],
        };
        let mut own = tensors(None);
        run(&mut own).unwrap_or_else(|error| panic!("{call}: {error}"));
        let names = own.names;
        for foreign in 0..names.len() {
            let what = format!("{call} with {} of another device", names[foreign]);
            match run(&mut tensors(Some(foreign))) {
                Err(Error::Argument { argument, reason }) => {
                    // Where it is the first one, another is foreign to it.
                    let is_it = argument == names[foreign] || foreign == 0;
                    let is_one = names.contains(&argument.as_str());
                    assert!(is_it && is_one, "{what}: {argument}");
                    assert!(reason.contains("another device"), "{what}: {reason}");
                    refused += 1;
                }
                other => panic!("{what}: {other:?}"),
            }
        }
    }
    assert!(refused >= 2 * 2 * CALLS.len(), "{refused}");
}

#[test]
fn a_device_that_is_taken_twice_is_two() {
    for (_, gpu) in poisoned_gpus() {
        let (device, queue) = (gpu.device().clone(), gpu.queue().clone());
        let again = Gpu::from_wgpu(gpu.info().clone(), device, queue).unwrap();
        // One of them has margins around its buffers.
        let left = Tensor::from_slice(gpu, [2], &[1.0, 2.0]).unwrap();
        let right = Tensor::from_slice(&again, [2], &[10.0, 20.0]).unwrap();
        for sum in [ops::add(&left, &right), ops::add(&right, &left)] {
            assert!(matches!(sum, Err(Error::Argument { .. })), "{sum:?}");
        }
    }
}

/// A renderer, say, that polls the device which it also trains on.
#[test]
fn a_device_that_others_poll_is_taken() {
    let Some(gpu) = plain_gpu() else { return };
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while !done.load(std::sync::atomic::Ordering::Relaxed) {
                    let _ = gpu.device().poll(wgpu::PollType::Poll);
                }
            });
        }
        let taken = (0..500).map(|_| {
            let (device, queue) = (gpu.device().clone(), gpu.queue().clone());
            Gpu::from_wgpu(gpu.info().clone(), device, queue).map(drop)
        });
        let refused: Vec<_> = taken.filter_map(Result::err).collect();
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        assert!(refused.is_empty(), "{refused:?}");
    });
}
