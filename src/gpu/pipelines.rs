//! Pipelines: one for each kernel with its constants, compiled on all cores.

use std::collections::HashMap;
#[cfg(feature = "native")]
use std::panic::resume_unwind;
#[cfg(feature = "native")]
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use super::disk::DiskCache;
use super::kernel::{PipelineKey, Variant};
use super::record::Dispatch;
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
}

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

impl Gpu {
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
        let next = AtomicUsize::new(0);
        let work = || -> Result<()> {
            while let Some(request) = requests.get(next.fetch_add(1, Ordering::Relaxed)) {
                // Nothing waits here: an error scope of a native device is ready at once.
                pollster::block_on(self.compile(request))?;
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
        for request in requests {
            self.compile(request).await?;
        }
        Ok(())
    }

    async fn compile(&self, request: &Request<'_>) -> Result<()> {
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
            if self.traits().software {
                self.warm_up(&pipeline, request.bind_group);
            }
            pipeline
        };
        let pipeline = self.guard(request.what, create).await;
        match pipeline {
            Ok(pipeline) => {
                lock(&pipelines.compiled).insert(request.dispatch.key(), pipeline);
                Ok(())
            }
            Err(error) => {
                // The module may be what is wrong.
                lock(&pipelines.modules).remove(&(kernel.name, variant));
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
