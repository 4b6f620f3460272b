//! Choosing an adapter and creating a device on it.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use super::lost::remember_loss;
use super::strategy::Core;
use super::{Debugging, DiskCache, Gpu, lock};
use crate::{Error, Result};

/// Chooses the adapter and the limits of a [`Gpu`].
///
/// ```no_run
/// use wgpu_cnn::{Gpu, wgpu};
/// let gpu = Gpu::builder()
///     .power_preference(wgpu::PowerPreference::LowPower)
///     .allow_software(false)
///     .build()?;
/// # Ok::<(), wgpu_cnn::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct GpuBuilder {
    adapter: Option<String>,
    power_preference: wgpu::PowerPreference,
    allow_software: bool,
    allow_subgroups: bool,
    limits: Option<wgpu::Limits>,
    preferred: Option<String>,
    compute_units: Option<u32>,
    /// Among those that fit.
    number: usize,
    /// The same among those that serve as well as the first, begun anew after the last.
    in_turn: Option<usize>,
    pipeline_cache: Option<PathBuf>,
    debugging: Debugging,
}

impl Default for GpuBuilder {
    fn default() -> Self {
        Self {
            adapter: None,
            power_preference: wgpu::PowerPreference::HighPerformance,
            allow_software: true,
            allow_subgroups: true,
            limits: None,
            preferred: None,
            compute_units: None,
            pipeline_cache: None,
            number: 0,
            in_turn: None,
            debugging: Debugging::default(),
        }
    }
}

impl GpuBuilder {
    /// Takes only adapters whose name contains `name`, in any case. Without this call the
    /// environment variable `WGPU_CNN_ADAPTER` says so, if it is set. A browser has one adapter for a page,
    /// of which it may not tell the name.
    pub fn adapter(mut self, name: impl Into<String>) -> Self {
        self.adapter = Some(name.into());
        self
    }

    /// Takes one of the adapters that serve as well as the first by its number among them, which begins anew after the
    /// last, in place of [`number`](Self::number): for the ranks of a machine, of which there may be more. Those of
    /// one kind, discrete or integrated, and one back end serve equally well. In a browser there is one.
    ///
    /// ```no_run
    /// use wgpu_cnn::Gpu;
    /// let gpus = (0..2).map(|rank| Gpu::builder().in_turn(rank).build());
    /// let gpus: Vec<Gpu> = gpus.collect::<Result<_, _>>()?; // the same one twice, where there is one
    /// # Ok::<(), wgpu_cnn::Error>(())
    /// ```
    pub fn in_turn(mut self, number: usize) -> Self {
        self.in_turn = Some(number);
        self
    }

    /// Takes the adapter at a place among those that fit, from 0 on: the preferred ones first, and of those that
    /// are alike in the order in which the driver has them. So each rank of a
    /// [distributed](crate::TrainerBuilder::distributed) training takes one of several. That there are not as many
    /// is an [`Error::NoAdapter`]. Default 0. Means nothing in a browser, which has one.
    pub fn number(mut self, number: usize) -> Self {
        self.number = number;
        self
    }

    /// Prefers a fast adapter (the default) or one that saves power.
    pub fn power_preference(mut self, preference: wgpu::PowerPreference) -> Self {
        self.power_preference = preference;
        self
    }

    /// Whether a software driver such as lavapipe will do. Default true.
    pub fn allow_software(mut self, allow: bool) -> Self {
        self.allow_software = allow;
        self
    }

    /// Whether kernels may use subgroup operations. Default true, where the adapter has them.
    pub fn allow_subgroups(mut self, allow: bool) -> Self {
        self.allow_subgroups = allow;
        self
    }

    /// Compiles the shaders with checks of every index. Slower; for debugging. Default false.
    pub fn shader_checks(mut self, checks: bool) -> Self {
        self.debugging.shader_checks = checks;
        self
    }

    /// Has what the device says come with a later poll of the future that waits for it, as in a browser, so that
    /// such futures can be dropped in the middle.
    #[cfg(all(test, feature = "native"))]
    pub(crate) fn answers_later(mut self) -> Self {
        self.debugging.answers_later = true;
        self
    }

    /// Fills all memory with NaN before its first use and puts NaN around every buffer, so that a
    /// kernel that reads what it should not gives NaN; the surroundings are examined with every
    /// read-back, and a change is an [`Error::Gpu`]. Slower; for debugging. Default false.
    pub fn poison(mut self, poison: bool) -> Self {
        self.debugging.poison = poison;
        self
    }

    /// Takes one core for every product and convolution that it serves, in place of the one that is
    /// known or measured to be fast: `"tiled-32"`, `"tiled-64"`, `"tiled-128"`, `"tiled-lean"`,
    /// `"subgroup"`, `"rows"`, `"strided"`, `"depthwise"`, `"unfolded"`, `"winograd-subgroup"`, `"winograd-tiled"`,
    /// `"fft"` or `"direct"`. For tests and for reports on a driver.
    pub fn prefer_core(mut self, name: impl Into<String>) -> Self {
        self.preferred = Some(name.into());
        self
    }

    /// Sets the number of compute units (SMs on NVIDIA, cores on Apple) that work is shared by: the tiles of a
    /// product are chosen, and long sums split, so that they fill these. Default what the driver tells: Vulkan's
    /// do on NVIDIA, AMD and Arm. Where none tells, as on Intel and beyond Vulkan, 128 for a discrete GPU,
    /// 32 for an integrated one, 16 for a software driver, and 64 in the browser, which does not tell the kind
    /// either: rather too many than too few. The order of sums, and so the last bits of results, depend on it.
    pub fn compute_units(mut self, units: u32) -> Self {
        self.compute_units = Some(units);
        self
    }

    /// Requests exactly these limits. The default is WebGPU's, with buffers as large as the adapter
    /// has them.
    pub fn limits(mut self, limits: wgpu::Limits) -> Self {
        self.limits = Some(limits);
        self
    }

    /// Keeps the driver's compiled pipelines in a folder, which is made if it is missing, so that the
    /// next process starts faster. Each adapter has its file there, read here and written when a
    /// trainer or an operation has compiled something new. A file that cannot be read, is damaged or
    /// comes from another driver is a warning in the log and then replaced; one that cannot be written
    /// is a warning too.
    ///
    /// Vulkan alone has this; elsewhere nothing happens. Many drivers keep a cache of their own
    /// anyway. The driver trusts what it finds in the file, so nobody else should be able to write
    /// there. Default none.
    pub fn pipeline_cache(mut self, folder: impl Into<PathBuf>) -> Self {
        self.pipeline_cache = Some(folder.into());
        self
    }

    /// Creates the device.
    ///
    /// # Errors
    /// [`Error::NoAdapter`] where no adapter fits, [`Error::Limit`] where the one that fits has
    /// lower limits than were asked for, [`Error::Argument`] for a core that does not exist and for no compute units.
    #[cfg(feature = "native")]
    pub fn build(self) -> Result<Gpu> {
        pollster::block_on(self.build_async())
    }

    /// [`build`](Self::build) for asynchronous programs and the browser.
    pub async fn build_async(mut self) -> Result<Gpu> {
        if let Some(name) = &self.preferred {
            let missing = || Error::argument("prefer_core", format!("{name:?} names no core"));
            self.debugging.preferred = Some(Core::named(name).ok_or_else(missing)?);
        }
        if self.compute_units == Some(0) {
            return Err(Error::argument("compute_units", "must not be zero"));
        }
        self.debugging.compute_units = self.compute_units;
        let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle());
        let adapter = self.choose(&instance).await?;
        let info = adapter.get_info();
        log::info!(
            "adapter {} ({}, {:?})",
            info.name,
            info.backend,
            info.device_type
        );
        let available = adapter.limits();
        let required_limits = match self.limits {
            Some(limits) => limits,
            None => wgpu::Limits {
                max_buffer_size: available.max_buffer_size,
                max_storage_buffer_binding_size: available.max_storage_buffer_binding_size,
                ..wgpu::Limits::default().or_worse_values_from(&available)
            },
        };
        let mut exceeded = None;
        required_limits.check_limits_with_fail_fn(&available, false, |limit, needed, available| {
            let what = format!("a device on {}", info.name);
            exceeded.get_or_insert(Error::Limit {
                limit,
                what,
                needed,
                available,
            });
        });
        if let Some(error) = exceeded {
            return Err(error);
        }
        let mut wanted = wgpu::Features::TIMESTAMP_QUERY | wgpu::Features::SHADER_F16;
        wanted.set(wgpu::Features::SUBGROUP, self.allow_subgroups);
        let cached = self.pipeline_cache.is_some();
        wanted.set(wgpu::Features::PIPELINE_CACHE, cached);
        let descriptor = wgpu::DeviceDescriptor {
            label: Some("wgpu-cnn"),
            required_features: adapter.features() & wanted,
            required_limits,
            ..Default::default()
        };
        let (device, queue) =
            adapter
                .request_device(&descriptor)
                .await
                .map_err(|error| Error::NoAdapter {
                    reason: format!("{}: {error}", info.name),
                })?;
        let failure = watch(&device);
        let disk = match &self.pipeline_cache {
            Some(folder) => DiskCache::open(&device, &info, folder).await,
            None => None,
        };
        let debugging = self.debugging;
        Gpu::assemble(info, device, queue, failure, debugging, disk)
    }

    async fn choose(&self, instance: &wgpu::Instance) -> Result<wgpu::Adapter> {
        if cfg!(target_arch = "wasm32") {
            let options = wgpu::RequestAdapterOptions {
                power_preference: self.power_preference,
                ..Default::default()
            };
            let adapter = instance.request_adapter(&options).await;
            let adapter = adapter.map_err(|error| Error::NoAdapter {
                reason: error.to_string(),
            })?;
            return self.fits_browser(adapter);
        }
        let name = self
            .adapter
            .clone()
            .or_else(|| std::env::var("WGPU_CNN_ADAPTER").ok());
        let name = name.filter(|name| !name.is_empty());
        let adapters = instance.enumerate_adapters(wgpu::Backends::all()).await;
        let names: Vec<String> = adapters
            .iter()
            .map(|adapter| adapter.get_info().name)
            .collect();
        let fits = |adapter: &wgpu::Adapter| {
            let info = adapter.get_info();
            let named = name
                .as_ref()
                .is_none_or(|name| info.name.to_lowercase().contains(&name.to_lowercase()));
            let compute = wgpu::DownlevelFlags::COMPUTE_SHADERS;
            named
                && (self.allow_software || info.device_type != wgpu::DeviceType::Cpu)
                && adapter.get_downlevel_capabilities().flags.contains(compute)
        };
        let rank = |adapter: &wgpu::Adapter| self.rank(adapter.get_info().device_type);
        let mut fitting: Vec<_> = adapters.into_iter().filter(fits).collect();
        fitting.sort_by_key(rank);
        let number = match self.in_turn {
            Some(number) => {
                keep_the_best(&mut fitting);
                number % fitting.len().max(1)
            }
            None => self.number,
        };
        let count = fitting.len();
        let chosen = fitting.into_iter().nth(number);
        chosen.ok_or_else(|| Error::NoAdapter {
            reason: match (name, names.is_empty()) {
                _ if count > 0 => format!("number {number} of {count} that fit, counted from 0"),
                (_, true) => "this machine has no Vulkan, Metal or DX12 driver".into(),
                (Some(name), _) => format!("none of {names:?} is called {name:?}"),
                (None, _) => format!("none of {names:?} fits"),
            },
        })
    }

    /// A browser has one adapter for a page, if any.
    fn fits_browser(&self, adapter: wgpu::Adapter) -> Result<wgpu::Adapter> {
        let info = adapter.get_info();
        let wanted = self.adapter.as_deref().unwrap_or_default().to_lowercase();
        let reason = if !info.name.to_lowercase().contains(&wanted) {
            format!("the browser calls its adapter {:?}", info.name)
        } else if !self.allow_software && info.device_type == wgpu::DeviceType::Cpu {
            "the browser's adapter is a software driver".into()
        } else {
            return Ok(adapter);
        };
        Err(Error::NoAdapter { reason })
    }

    fn rank(&self, kind: wgpu::DeviceType) -> u32 {
        use wgpu::DeviceType::{Cpu, DiscreteGpu, IntegratedGpu, Other, VirtualGpu};
        let saving = self.power_preference == wgpu::PowerPreference::LowPower;
        match kind {
            DiscreteGpu => u32::from(saving),
            IntegratedGpu => u32::from(!saving),
            VirtualGpu => 2,
            Other => 3,
            Cpu => 4,
        }
    }
}

/// Leaves those that serve as well as the first.
fn keep_the_best(adapters: &mut Vec<wgpu::Adapter>) {
    let kind = |adapter: &wgpu::Adapter| {
        let info = adapter.get_info();
        (info.device_type, info.backend)
    };
    let first = adapters.first().map(kind);
    adapters.retain(|adapter| Some(kind(adapter)) == first);
}

/// Keeps the first error of a device of our own that no scope catches.
fn watch(device: &wgpu::Device) -> Arc<Mutex<Option<Error>>> {
    let failure = Arc::<Mutex<Option<Error>>>::default();
    let lost = failure.clone();
    device.set_device_lost_callback(move |reason, message| {
        let reason = format!("{reason:?}: {message}");
        remember_loss(&mut lock(&lost), reason);
    });
    let uncaptured = failure.clone();
    device.on_uncaptured_error(Arc::new(move |error: wgpu::Error| {
        log::error!("{error}");
        lock(&uncaptured).get_or_insert(Error::Gpu {
            message: error.to_string(),
        });
    }));
    failure
}
