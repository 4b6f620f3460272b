//! Tensors in a device's memory.

use std::marker::PhantomData;

use super::verdict::Verdicts;
use super::{Buffer, Gpu};
use crate::{Error, Result, Shape};

/// An element of a [`Tensor`]: `f32`, or `u32` for indices.
pub trait Element: bytemuck::Pod + sealed::Sealed {}
impl Element for f32 {}
impl Element for u32 {}

mod sealed {
    pub trait Sealed {}
    impl Sealed for f32 {}
    impl Sealed for u32 {}
}

/// A row-major tensor in a device's memory. Clones share it; the operations in [`ops`](crate::ops)
/// never change their inputs.
///
/// ```no_run
/// use wgpu_cnn::{Gpu, Tensor};
/// let gpu = Gpu::new()?;
/// let tensor = Tensor::from_slice(&gpu, [2, 3], &[1.0f32, 2.0, 3.0, 4.0, 5.0, 6.0])?;
/// assert_eq!(tensor.to_vec()?[4], 5.0);
/// # Ok::<(), wgpu_cnn::Error>(())
/// ```
#[derive(Debug)]
pub struct Tensor<T = f32> {
    gpu: Gpu,
    shape: Shape,
    buffer: Buffer,
    element: PhantomData<T>,
}

impl<T> Clone for Tensor<T> {
    fn clone(&self) -> Self {
        let Self {
            gpu,
            shape,
            buffer,
            element,
        } = self;
        Self {
            gpu: gpu.clone(),
            shape: shape.clone(),
            buffer: buffer.clone(),
            element: *element,
        }
    }
}

impl<T: Element> Tensor<T> {
    /// A tensor without defined contents.
    pub(crate) async fn uninitialised(gpu: &Gpu, shape: Shape) -> Result<Self> {
        let mut verdicts = Verdicts::of(gpu);
        let tensor = Self::begin(&mut verdicts, gpu, shape)?;
        verdicts.known().await?;
        Ok(tensor)
    }

    /// One that is there once the verdicts are known.
    pub(crate) fn begin(verdicts: &mut Verdicts, gpu: &Gpu, shape: Shape) -> Result<Self> {
        if shape.is_empty() {
            return Err(Error::shape("tensor", "extents above zero", &shape));
        }
        let size = padded(shape.len() as u64 * 4);
        let buffer = gpu.memory(verdicts, &format!("tensor {shape}"), size)?;
        Ok(Self {
            gpu: gpu.clone(),
            shape,
            buffer,
            element: PhantomData,
        })
    }

    /// Copies `data` to the device.
    ///
    /// # Errors
    /// [`Error::Shape`] where `data` does not hold as many elements as the shape, and the errors of
    /// allocation.
    #[cfg(feature = "native")]
    pub fn from_slice(gpu: &Gpu, shape: impl Into<Shape>, data: &[T]) -> Result<Self> {
        pollster::block_on(Self::from_slice_async(gpu, shape, data))
    }

    /// [`from_slice`](Self::from_slice) for asynchronous programs and the browser.
    pub async fn from_slice_async(gpu: &Gpu, shape: impl Into<Shape>, data: &[T]) -> Result<Self> {
        let shape = shape.into();
        if shape.len() != data.len() {
            return Err(Error::length("tensor", &shape, data.len()));
        }
        let mut verdicts = Verdicts::of(gpu);
        let tensor = Self::begin(&mut verdicts, gpu, shape)?;
        let write = || {
            gpu.queue()
                .write_buffer(&tensor.buffer, gpu.margin(), bytemuck::cast_slice(data))
        };
        verdicts.guard("tensor upload", 0, write)?;
        verdicts.known().await?;
        Ok(tensor)
    }

    /// Copies the elements back to the host.
    #[cfg(feature = "native")]
    pub fn to_vec(&self) -> Result<Vec<T>> {
        pollster::block_on(self.to_vec_async())
    }

    /// [`to_vec`](Self::to_vec) for asynchronous programs and the browser.
    pub async fn to_vec_async(&self) -> Result<Vec<T>> {
        let size = self.shape.len() as u64 * 4;
        let staging = self.gpu.read_back_buffer(size).await?;
        let bytes = self
            .gpu
            .read(&self.buffer, self.gpu.margin(), size, &staging)
            .await?;
        Ok(bytemuck::pod_collect_to_vec(&bytes))
    }

    /// The same elements under another shape. Shares the memory.
    ///
    /// # Errors
    /// [`Error::Shape`] where the shapes differ in their number of elements.
    pub fn reshape(&self, shape: impl Into<Shape>) -> Result<Self> {
        let shape = shape.into();
        if shape.len() != self.shape.len() {
            return Err(Error::shape(
                "reshape",
                format!("{} elements", self.shape.len()),
                shape,
            ));
        }
        Ok(Self {
            shape,
            ..self.clone()
        })
    }

    /// The extents.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// The device that the tensor lives on.
    pub fn gpu(&self) -> &Gpu {
        &self.gpu
    }

    /// The buffer that holds the elements, row-major and without gaps, for programs that also use
    /// wgpu directly. Its size is rounded up to 16 bytes. (On a device made with
    /// [`poison`](crate::GpuBuilder::poison) the elements begin 256 bytes later.)
    /// In a browser the buffer is destroyed with the tensor's last clone; elsewhere clones of it keep it.
    pub fn buffer(&self) -> &wgpu::Buffer {
        &self.buffer
    }

    /// The same, with a part in keeping it.
    pub(crate) fn shared_buffer(&self) -> Buffer {
        self.buffer.clone()
    }
}

/// A number of bytes, rounded up to what a copy takes.
pub(crate) fn whole_words(bytes: usize) -> u64 {
    (bytes as u64).next_multiple_of(4)
}

/// A buffer's size, rounded up to whole vectors of four.
pub(crate) fn padded(bytes: u64) -> u64 {
    bytes.next_multiple_of(16)
}
