//! The device, tensors on it, and the kernels that run there.

#![deny(clippy::wildcard_enum_match_arm)]

mod adapter;
mod assign;
mod disk;
pub(crate) mod kernel;
pub(crate) mod kernels;
mod limits;
mod lost;
mod memory;
mod peak;
mod pipelines;
pub(crate) mod program;
pub(crate) mod record;
mod run_once;
#[cfg(any(target_arch = "wasm32", test))]
pub(crate) mod short;
pub(crate) mod strategy;
pub(crate) mod tensor;
pub(crate) mod timer;
mod units;
pub(crate) mod verdict;
mod work;

pub use adapter::GpuBuilder;
pub(crate) use memory::{Buffer, Mapping};
pub use peak::Peaks;
pub use tensor::{Element, Tensor};
pub use timer::Clock;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use crate::{Error, Result};
use disk::DiskCache;
use kernel::{Access, needs};
use lost::at_once;
pub(crate) use lost::give_way;
use pipelines::Pipelines;
use strategy::{Core, Traits};
use verdict::Scopes;

/// A graphics device, with the pipelines that were compiled on it so far. Clones share it.
///
/// ```no_run
/// use wgpu_cnn::Gpu;
/// let gpu = Gpu::new()?;
/// println!("{} through {}", gpu.info().name, gpu.info().backend);
/// # Ok::<(), wgpu_cnn::Error>(())
/// ```
#[derive(Clone)]
pub struct Gpu {
    inner: Arc<Inner>,
}

struct Inner {
    device: wgpu::Device,
    queue: wgpu::Queue,
    info: wgpu::AdapterInfo,
    limits: wgpu::Limits,
    /// The first error that came outside a call, the device's loss above all.
    failure: Arc<Mutex<Option<Error>>>,
    pipelines: Pipelines,
    /// Bound where a kernel's optional buffer is absent: one for those it reads, one for the others.
    dummies: [wgpu::Buffer; 2],
    debugging: Debugging,
    compute_units: u32,
    /// Measured when they are first asked for.
    peaks: OnceLock<Peaks>,
}

/// What a device does to find defects.
#[derive(Debug, Clone, Copy, Default)]
struct Debugging {
    /// Shaders check their indices.
    shader_checks: bool,
    /// Memory is filled with NaN and surrounded by it.
    poison: bool,
    /// The core that is taken wherever it serves.
    preferred: Option<Core>,
    /// The number of compute units that it is taken to have.
    compute_units: Option<u32>,
    /// What the device says comes with a later poll of the future that waits for it, as in a browser.
    answers_later: bool,
}

/// Bytes of an absent buffer.
const DUMMY: u64 = 256;

impl std::fmt::Debug for Gpu {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gpu")
            .field("info", &self.inner.info)
            .finish_non_exhaustive()
    }
}

/// A lock whose holder never leaves half a change behind.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Gpu {
    /// The best adapter of this machine: a discrete GPU before an integrated one before a software
    /// driver. The environment variable `WGPU_CNN_ADAPTER` picks by a part of the name.
    ///
    /// # Errors
    /// [`Error::NoAdapter`] where there is none, or none of that name.
    #[cfg(feature = "native")]
    pub fn new() -> Result<Self> {
        Self::builder().build()
    }

    /// [`new`](Self::new) for asynchronous programs and the browser.
    pub async fn new_async() -> Result<Self> {
        Self::builder().build_async().await
    }

    /// Chooses adapter and limits.
    pub fn builder() -> GpuBuilder {
        GpuBuilder::default()
    }

    /// Takes a device that the program already has. Its error handlers stay as they are; the
    /// library catches its own errors in scopes.
    ///
    /// The device should have been requested with `Features::SUBGROUP` where the adapter has it:
    /// on software adapters some kernels are faster for it. With `Features::TIMESTAMP_QUERY` a
    /// [profile](crate::Trainer::profile) is exact. Half precision needs `Features::SHADER_F16`.
    ///
    /// Take a device once and clone the result: [operations](crate::ops) take tensors of clones alone.
    ///
    /// This waits until the device has done what was submitted to it, which shows that the queue is
    /// its own. In the browser, where nothing can wait, that the three belong together remains the
    /// program's to see to.
    ///
    /// # Errors
    /// [`Error::Argument`] for a queue or a description of another device, [`Error::Limit`] for a
    /// device that has no buffers as large as the smallest that are needed, [`Error::DeviceLost`].
    pub fn from_wgpu(
        info: wgpu::AdapterInfo,
        device: wgpu::Device,
        queue: wgpu::Queue,
    ) -> Result<Self> {
        // Not every browser tells of a device's adapter.
        if !cfg!(target_arch = "wasm32") && device.adapter_info() != info {
            let reason = format!("describes {:?}, not the device's adapter", info.name);
            return Err(Error::argument("info", reason));
        }
        let (failure, debugging) = Default::default();
        let gpu = Self::assemble(info, device, queue, failure, debugging, None)?;
        gpu.check_queue()?;
        Ok(gpu)
    }

    fn assemble(
        info: wgpu::AdapterInfo,
        device: wgpu::Device,
        queue: wgpu::Queue,
        failure: Arc<Mutex<Option<Error>>>,
        debugging: Debugging,
        disk: Option<DiskCache>,
    ) -> Result<Self> {
        let limits = device.limits();
        let alignment = limits.min_storage_buffer_offset_alignment.into();
        let size = DUMMY.next_multiple_of(alignment) * u64::from(needs::STORAGE_BUFFERS);
        if size > limits.max_buffer_size {
            return Err(Error::Limit {
                limit: "max_buffer_size",
                what: "what stands in for absent buffers".into(),
                needed: size,
                available: limits.max_buffer_size,
            });
        }
        let scopes = Scopes::open(&device, Debugging::default());
        let create = |label, size, usage| {
            device.create_buffer(&wgpu::BufferDescriptor {
                label: Some(label),
                size,
                usage,
                mapped_at_creation: false,
            })
        };
        let dummies = ["absent input", "absent output"]
            .map(|label| create(label, size, wgpu::BufferUsages::STORAGE));
        // In the browser the answer comes later. What is missing there shows with the first kernel.
        at_once(scopes.close("a device", size)).unwrap_or(Ok(()))?;
        let compute_units = (debugging.compute_units)
            .or_else(|| units::told(&device))
            .unwrap_or_else(|| units::guessed(info.device_type));
        let inner = Inner {
            device,
            queue,
            info,
            limits,
            compute_units,
            failure,
            pipelines: Pipelines::new(disk),
            dummies,
            debugging,
            peaks: OnceLock::new(),
        };
        let gpu = Self {
            inner: Arc::new(inner),
        };
        gpu.check_lost()?;
        Ok(gpu)
    }

    /// Whether the queue is the device's own: what it says of its work comes with a poll of its own
    /// device. Nothing is asked of it that another device's handlers would hear of. A queue of another
    /// device that somebody polls at the same time passes.
    fn check_queue(&self) -> Result<()> {
        if cfg!(target_arch = "wasm32") {
            return Ok(());
        }
        let done = Arc::new(AtomicBool::new(false));
        let told = done.clone();
        let tell = move || told.store(true, Ordering::Release);
        self.inner.queue.on_submitted_work_done(tell);
        for turn in 0..100 {
            self.wait(None)?;
            if done.load(Ordering::Acquire) {
                return Ok(());
            }
            // Another thread's poll may have taken the answer, and be about to tell it.
            std::thread::sleep(std::time::Duration::from_micros(10 * turn));
        }
        Err(Error::argument("queue", "belongs to another device"))
    }

    /// Whether the two are clones. What wgpu says of devices to be equal holds within one instance.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner)
    }

    /// The adapter's name, vendor, driver, back end and kind.
    pub fn info(&self) -> &wgpu::AdapterInfo {
        &self.inner.info
    }

    /// The adapter by name, back end and driver, for reports.
    pub(crate) fn described(&self) -> String {
        let info = &self.inner.info;
        let backend = info.backend.to_string();
        let mut parts = vec![info.name.as_str(), &backend, &info.driver_info];
        parts.retain(|part| !part.is_empty());
        parts.join(", ")
    }

    /// The limits that the device was created with.
    pub fn limits(&self) -> &wgpu::Limits {
        &self.inner.limits
    }

    /// The wgpu device, for programs that also use it directly.
    pub fn device(&self) -> &wgpu::Device {
        &self.inner.device
    }

    /// The wgpu queue.
    pub fn queue(&self) -> &wgpu::Queue {
        &self.inner.queue
    }

    /// Whether [half precision](crate::TrainerBuilder::half_precision) can be used: the device has
    /// `Features::SHADER_F16`.
    pub fn has_half_precision(&self) -> bool {
        let features = self.inner.device.features();
        features.contains(wgpu::Features::SHADER_F16)
    }

    /// The compute units (SMs, cores) that work is shared by: the number that was
    /// [given](GpuBuilder::compute_units), else what the driver tells, else a guess.
    pub fn compute_units(&self) -> u32 {
        self.inner.compute_units
    }

    /// What stands in for an absent buffer at a binding; no two bindings share memory.
    pub(crate) fn dummy(&self, access: Access, binding: usize) -> wgpu::BufferBinding<'_> {
        let buffer = match access {
            Access::Read => &self.inner.dummies[0],
            Access::ReadWrite => &self.inner.dummies[1],
        };
        let alignment = self.inner.limits.min_storage_buffer_offset_alignment.into();
        let offset = DUMMY.next_multiple_of(alignment) * binding as u64 % buffer.size();
        wgpu::BufferBinding {
            buffer,
            offset,
            size: std::num::NonZeroU64::new(DUMMY),
        }
    }

    /// What the choice of kernels depends on.
    pub(crate) fn traits(&self) -> Traits {
        let (info, features) = (&self.inner.info, self.inner.device.features());
        let fixed = info.subgroup_min_size == info.subgroup_max_size;
        let subgroups = features.contains(wgpu::Features::SUBGROUP) && fixed;
        let software = info.device_type == wgpu::DeviceType::Cpu;
        Traits {
            software,
            subgroup_size: if subgroups { info.subgroup_min_size } else { 0 },
            few_registers: !software && info.subgroup_min_size == 8,
            storage_alignment: self.inner.limits.min_storage_buffer_offset_alignment.into(),
            uniform_alignment: self.inner.limits.min_uniform_buffer_offset_alignment.into(),
            // Shaders count elements in 32 bits.
            max_binding: self
                .inner
                .limits
                .max_storage_buffer_binding_size
                .min(4 << 30),
            max_buffer: self.inner.limits.max_buffer_size,
            max_workgroups: (self.inner.limits)
                .max_compute_workgroups_per_dimension
                .min(65_535),
            compute_units: self.inner.compute_units,
            preferred: self.inner.debugging.preferred,
            direct_only: false,
        }
    }
}
