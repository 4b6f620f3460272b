//! Single operations on tensors of a device, for programs that use this library for its kernels.
//!
//! Each call allocates its result, submits its kernels and returns; it does not wait for them. A
//! training step through a [`Trainer`](crate::Trainer) creates nothing and is much faster than the
//! same operations one by one. Shapes include the batch: `(N, C, H, W)`. The twins of these
//! functions on slices are in [`cpu`](crate::cpu). Those that end in `_async` are for asynchronous programs and the
//! browser, where an error comes later than its call: it is waited for.
//!
//! ```no_run
//! use wgpu_cnn::{Conv2d, Gpu, MaxPool2d, Tensor, ops};
//! let gpu = Gpu::new()?;
//! let x = Tensor::from_slice(&gpu, [1, 1, 3, 3], &[3.0, 2.0, 5.0, 4.0, 1.0, 7.0, 3.0, 5.0, 0.0])?;
//! let (values, argmax) = ops::max_pool2d_forward(&x, &MaxPool2d::new(2).stride(1))?;
//! assert_eq!(values.to_vec()?, [4.0, 7.0, 5.0, 7.0]);
//! assert_eq!(argmax.to_vec()?, [3, 5, 7, 5]);
//! # Ok::<(), wgpu_cnn::Error>(())
//! ```

#![deny(clippy::wildcard_enum_match_arm)]

mod activation;
#[cfg(all(test, feature = "native"))]
mod activation_tests;
mod adaptive_pool2d;
mod average;
mod broadcast;
mod concat;
mod conv2d;
mod dropout;
mod local_response_norm;
mod loss;
mod matmul;
mod norm;
mod optimizer;
mod pad2d;
mod pixel_shuffle;
mod pointwise_linear;
mod pool2d;
mod prelu;
mod scale;
mod select;
mod softmax;
mod upsample2d;

pub use activation::*;
pub use adaptive_pool2d::*;
pub use average::*;
pub use broadcast::*;
pub use concat::*;
pub use conv2d::*;
pub use dropout::*;
pub use local_response_norm::*;
pub use loss::*;
pub use matmul::*;
pub use norm::*;
pub use optimizer::*;
pub use pad2d::*;
pub use pixel_shuffle::*;
pub use pointwise_linear::*;
pub use pool2d::*;
pub use prelu::*;
pub use scale::*;
pub use select::*;
pub use softmax::*;
pub use upsample2d::*;

use std::cell::{RefCell, RefMut};

use crate::gpu::kernels::activation as activation_kernels;
use crate::gpu::program::Program;
use crate::gpu::record::{Recording, Region, Storage};
use crate::gpu::verdict::Verdicts;
use crate::gpu::{Element, Gpu, Tensor};
use crate::{Error, Result, Shape};

/// One operation in the making.
struct Call {
    gpu: Gpu,
    /// On what has been allocated.
    verdicts: RefCell<Verdicts>,
    recording: RefCell<Recording>,
}

impl Call {
    /// The beginnings of an operation, which errors call by its name.
    fn new(name: &str, gpu: &Gpu) -> Self {
        let mut recording = Recording::new(gpu.traits());
        recording.set_label(name);
        Self {
            gpu: gpu.clone(),
            verdicts: RefCell::new(Verdicts::of(gpu)),
            recording: RefCell::new(recording),
        }
    }

    fn recording(&self) -> RefMut<'_, Recording> {
        self.recording.borrow_mut()
    }

    /// A tensor that is there once the call has [run](Self::run).
    fn output<T: Element>(&self, shape: impl Into<Shape>) -> Result<Tensor<T>> {
        let mut verdicts = self.verdicts.borrow_mut();
        Tensor::begin(&mut verdicts, &self.gpu, shape.into())
    }

    /// An argument, which must be of this call's device.
    fn input<T: Element>(&self, name: &str, tensor: &Tensor<T>) -> Result<Region> {
        self.check(name, tensor)?;
        Ok(self.bound(name, tensor))
    }

    /// Several of them.
    fn inputs<const N: usize>(&self, tensors: [(&str, &Tensor); N]) -> Result<[Region; N]> {
        for (name, tensor) in tensors {
            self.check(name, tensor)?;
        }
        Ok(tensors.map(|(name, tensor)| self.bound(name, tensor)))
    }

    fn check<T: Element>(&self, name: &str, tensor: &Tensor<T>) -> Result<()> {
        match self.gpu.is_same(tensor.gpu()) {
            true => Ok(()),
            false => Err(Error::argument(name, "is a tensor of another device")),
        }
    }

    /// A tensor that this call has made: a result, or something on the way to it.
    fn region<T: Element>(&self, tensor: &Tensor<T>) -> Region {
        self.bound("result", tensor)
    }

    fn bound<T: Element>(&self, label: &str, tensor: &Tensor<T>) -> Region {
        let storage = Storage::Bound(tensor.shared_buffer());
        self.recording()
            .buffer(label, tensor.shape().len(), storage)
    }

    /// A tensor with the contents of an argument, for a kernel that changes them.
    fn copy(&self, name: &str, tensor: &Tensor) -> Result<Tensor> {
        let from = self.input(name, tensor)?;
        let copy = self.output(tensor.shape())?;
        let to = self.region(&copy).into();
        activation_kernels::forward(&mut self.recording(), tensor.shape().len(), from, to);
        Ok(copy)
    }

    async fn run(self) -> Result<()> {
        self.verdicts.into_inner().known().await?;
        let recording = self.recording.into_inner().finish()?;
        let program = Program::compile(&self.gpu, &recording).await?;
        let params = program.params_block(&recording.dispatches);
        let (gpu, dispatches) = (&self.gpu, &recording.dispatches);
        let all = [0..dispatches.len(); 1];
        program.run_once(gpu, dispatches, &all, &params).await?;
        program.check_margins(gpu).await
    }
}

/// The extents of a batch `(N, ...)` and of one example.
fn split_batch(name: &str, shape: &Shape) -> Result<(usize, Shape)> {
    match shape[..] {
        [batch, ref example @ ..] if batch > 0 => Ok((batch, example.into())),
        _ => Err(Error::shape(name, "a batch (N, ...)", shape)),
    }
}

fn expect<T: Element>(name: &str, tensor: &Tensor<T>, shape: impl Into<Shape>) -> Result<()> {
    let shape = shape.into();
    if *tensor.shape() == shape {
        Ok(())
    } else {
        Err(Error::shape(name, shape.to_string(), tensor.shape()))
    }
}
