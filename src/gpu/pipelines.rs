//! Pipelines: one for each kernel with its constants, compiled on all cores.

use std::collections::HashMap;
#[cfg(feature = "native")]
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use super::disk::DiskCache;
use super::kernel::{PipelineKey, Variant};
use super::record::Dispatch;
use super::verdict::Verdict;
use super::{Gpu, lock};
use crate::Result;

/// What has been compiled on a device.
#[derive(Default)]
pub(super) struct Pipelines {
    compiled: Mutex<HashMap<PipelineKey, wgpu::ComputePipeline>>,
    /// Parsed once for all pipelines of a kernel's variant.
    modules: Mutex<HashMap<(&'static str, Variant), Module>>,
    layouts: Mutex<HashMap<(&'static str, bool), Layouts>>,
    disk: Option<DiskCache>,
    listener: Mutex<Option<Arc<dyn Listener>>>,
}

/// Who is told how many of how many pipelines are there.
pub(super) trait Listener: Fn(usize, usize) + wgpu::WasmNotSendSync {}
impl<F: Fn(usize, usize) + wgpu::WasmNotSendSync> Listener for F {}

/// A module, which the first one to need it makes while others wait.
type Module = Arc<OnceLock<wgpu::ShaderModule>>;

/// The layouts of a kernel.
#[derive(Clone)]
pub(super) struct Layouts {
    pub bind_group: wgpu::BindGroupLayout,
    pipeline: wgpu::PipelineLayout,
}

/// A pipeline that a dispatch needs.
pub(super) struct Request<'a> {
    pub dispatch: &'a Dispatch,
    /// Its name in errors.
    pub what: &'a str,
    /// What the pipeline will be used with.
    pub bind_group: &'a wgpu::BindGroup,
}

impl Pipelines {
    pub fn new(disk: Option<DiskCache>) -> Self {
        Self {
            disk,
            ..Self::default()
        }
    }
}

/// Pipelines on their way at once where there are no threads. The device goes on while the page waits for the
/// first of them, and the page can draw between two.
#[cfg(not(feature = "native"))]
const ON_THEIR_WAY: usize = 8;

/// Counts pipelines that are there, for who listens.
struct Compiled {
    done: AtomicUsize,
    all: usize,
    listener: Option<Arc<dyn Listener>>,
}

impl Compiled {
    fn of(gpu: &Gpu, all: usize) -> Self {
        Self {
            done: AtomicUsize::new(0),
            all,
            listener: lock(&gpu.inner.pipelines.listener).clone(),
        }
    }

    fn one_more(&self) {
        let done = 1 + self.done.fetch_add(1, Ordering::Relaxed);
        if let Some(listener) = &self.listener {
            listener(done, self.all);
        }
    }
}

impl Gpu {
    /// Calls `listener` from now on with each pipeline that has been compiled, for whatever trainer, predictor or
    /// operation: how many of those that are missing are there, and how many these are. A trainer's are most of
    /// what making it takes, on some drivers seconds, in which a program may want to show how far it has come.
    /// Natively the calls come from several threads, in no order; in a browser the page can draw between two
    /// calls. It replaces the one before. A listener must not make anything of this device.
    ///
    /// ```no_run
    /// use wgpu_cnn::Gpu;
    /// let gpu = Gpu::new()?;
    /// gpu.on_compiled(|done, all| eprint!("\r{done} of {all} pipelines"));
    /// # Ok::<(), wgpu_cnn::Error>(())
    /// ```
    pub fn on_compiled(&self, listener: impl Fn(usize, usize) + wgpu::WasmNotSendSync + 'static) {
        *lock(&self.inner.pipelines.listener) = Some(Arc::new(listener));
    }

    /// A pipeline for each request. Those that were not there are compiled, each of them once, and
    /// on several threads at a time where there are threads.
    pub(super) async fn pipelines(
        &self,
        requests: &[Request<'_>],
    ) -> Result<Vec<wgpu::ComputePipeline>> {
        let mut missing: HashMap<PipelineKey, &Request> = HashMap::new();
        let mut order = Vec::new();
        for request in requests {
            let key = request.dispatch.key();
            let compiled = lock(&self.inner.pipelines.compiled).contains_key(&key);
            if !compiled && missing.insert(key, request).is_none() {
                order.push(request);
            }
        }
        self.compile_all(&order).await?;
        if !order.is_empty() {
            log::debug!("{} pipelines compiled", order.len());
            if let Some(disk) = &self.inner.pipelines.disk {
                disk.save();
            }
        }
        let compiled = lock(&self.inner.pipelines.compiled);
        let found = requests
            .iter()
            .filter_map(|request| compiled.get(&request.dispatch.key()));
        Ok(found.cloned().collect())
    }

    /// On threads of its own, not those of a pool: whoever waits in a pool may be given other work, and
    /// these take long.
    #[cfg(feature = "native")]
    async fn compile_all(&self, requests: &[&Request<'_>]) -> Result<()> {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let (next, compiled) = (AtomicUsize::new(0), Compiled::of(self, requests.len()));
        let work = || -> Result<()> {
            while let Some(request) = requests.get(next.fetch_add(1, Ordering::Relaxed)) {
                // Nothing waits here: an error scope of a native device is ready at once.
                pollster::block_on(self.compile(request))?;
                compiled.one_more();
            }
            Ok(())
        };
        std::thread::scope(|scope| {
            let others = 1..threads.min(requests.len());
            let others: Vec<_> = others.map(|_| scope.spawn(work)).collect();
            let mut results = vec![work()];
            for other in others {
                results.push(other.join().unwrap_or_else(|panic| resume_unwind(panic)));
            }
            results.into_iter().collect()
        })
    }

    #[cfg(not(feature = "native"))]
    async fn compile_all(&self, requests: &[&Request<'_>]) -> Result<()> {
        let compiled = Compiled::of(self, requests.len());
        let mut begun = std::collections::VecDeque::new();
        let mut missing = requests.iter();
        loop {
            let more = missing.by_ref().take(ON_THEIR_WAY - begun.len());
            begun.extend(more.map(|request| (request, self.begin_pipeline(request))));
            let Some((request, pipeline)) = begun.pop_front() else {
                return Ok(());
            };
            if let Err(error) = self.keep(request, pipeline).await {
                // What else is wrong is not told, but not kept either.
                for (request, pipeline) in begun {
                    let _ = self.keep(request, pipeline).await;
                }
                return Err(error);
            }
            compiled.one_more();
        }
    }

    #[cfg(feature = "native")]
    async fn compile(&self, request: &Request<'_>) -> Result<()> {
        self.keep(request, self.begin_pipeline(request)).await
    }

    fn begin_pipeline(&self, request: &Request<'_>) -> Result<(wgpu::ComputePipeline, Verdict)> {
        let Dispatch {
            kernel, constants, ..
        } = request.dispatch;
        let (device, pipelines) = (&self.inner.device, &self.inner.pipelines);
        let variant = request.dispatch.variant();
        let create = || {
            let module = lock(&pipelines.modules)
                .entry((kernel.name, variant.clone()))
                .or_default()
                .clone();
            let module = module.get_or_init(|| {
                let (backend, checks) =
                    (self.inner.info.backend, self.inner.debugging.shader_checks);
                kernel.module(device, &variant, backend, checks)
            });
            let cache = pipelines.disk.as_ref().map(DiskCache::cache);
            let layout = self.layouts(request.dispatch).pipeline;
            let pipeline = kernel.pipeline(device, &layout, module, constants, cache);
            // A browser compiles at once, and warns of dispatches that run nothing.
            if self.traits().software && self.inner.info.backend != wgpu::Backend::BrowserWebGpu {
                self.warm_up(&pipeline, request.bind_group);
            }
            pipeline
        };
        self.begin(request.what, 0, create)
    }

    /// Waits until a pipeline is there.
    async fn keep(
        &self,
        request: &Request<'_>,
        begun: Result<(wgpu::ComputePipeline, Verdict)>,
    ) -> Result<()> {
        let made = match begun {
            Ok((pipeline, verdict)) => verdict.known().await.map(|()| pipeline),
            Err(error) => Err(error),
        };
        let pipelines = &self.inner.pipelines;
        match made {
            Ok(pipeline) => {
                lock(&pipelines.compiled).insert(request.dispatch.key(), pipeline);
                Ok(())
            }
            Err(error) => {
                // The module may be what is wrong.
                let module = (request.dispatch.kernel.name, request.dispatch.variant());
                lock(&pipelines.modules).remove(&module);
                Err(error)
            }
        }
    }

    /// Makes a driver that compiles a pipeline only when it is first used do so now, on a thread of
    /// its own, while the next ones are made. A dispatch of no workgroups is enough, and runs nothing.
    fn warm_up(&self, pipeline: &wgpu::ComputePipeline, bind_group: &wgpu::BindGroup) {
        let mut encoder = self
            .inner
            .device
            .create_command_encoder(&Default::default());
        let mut pass = encoder.begin_compute_pass(&Default::default());
        pass.set_pipeline(pipeline);
        pass.set_bind_group(0, bind_group, &[]);
        pass.dispatch_workgroups(0, 0, 0);
        drop(pass);
        self.inner.queue.submit([encoder.finish()]);
    }

    pub(super) fn layouts(&self, dispatch: &Dispatch) -> Layouts {
        let device = &self.inner.device;
        let (kernel, argument) = (dispatch.kernel, dispatch.argument.is_some());
        let create = || {
            let bind_group = kernel.bind_group_layout(device, argument);
            let pipeline = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
                label: Some(kernel.name),
                bind_group_layouts: &[Some(&bind_group)],
                immediate_size: 0,
            });
            Layouts {
                bind_group,
                pipeline,
            }
        };
        let mut layouts = lock(&self.inner.pipelines.layouts);
        let key = (kernel.name, argument);
        layouts.entry(key).or_insert_with(create).clone()
    }
}
