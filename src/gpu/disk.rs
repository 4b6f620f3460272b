//! The driver's pipeline cache in a file.

use std::fs;
use std::path::{Path, PathBuf};

/// A cache of compiled pipelines that outlives the process.
pub(super) struct DiskCache {
    cache: wgpu::PipelineCache,
    path: PathBuf,
}

impl DiskCache {
    /// The cache of an adapter in `folder`: what an earlier process left there, or an empty one.
    /// `None` where the device has no such thing.
    pub async fn open(
        device: &wgpu::Device,
        info: &wgpu::AdapterInfo,
        folder: &Path,
    ) -> Option<Self> {
        let supported = device.features().contains(wgpu::Features::PIPELINE_CACHE);
        let name = wgpu::util::pipeline_cache_key(info).filter(|_| supported);
        let Some(name) = name else {
            log::info!("{} has no pipeline cache", info.name);
            return None;
        };
        let path = folder.join(name);
        let read = || {
            path.exists()
                .then(|| fs::read(&path).inspect_err(|error| warn(&path, error)))
        };
        let mut cache = None;
        if let Some(Ok(data)) = read() {
            cache = create(device, Some(&data))
                .await
                .inspect_err(|error| warn(&path, error))
                .ok();
        }
        if cache.is_none() {
            let empty = create(device, None).await;
            cache = empty.inspect_err(|error| warn(&path, error)).ok();
        }
        Some(Self {
            cache: cache?,
            path,
        })
    }

    pub fn cache(&self) -> &wgpu::PipelineCache {
        &self.cache
    }

    /// Writes the file. A failure is logged and no more: without the file all is as before, but slower.
    pub fn save(&self) {
        let Some(data) = self.cache.get_data() else {
            return;
        };
        // Beside it, with a name that no other process takes, so that nobody ever reads half a file.
        let part = self
            .path
            .with_extension(format!("{}.part", std::process::id()));
        let folder = self.path.parent().unwrap_or(Path::new("."));
        let written = fs::create_dir_all(folder)
            .and_then(|()| fs::write(&part, &data))
            .and_then(|()| fs::rename(&part, &self.path));
        if let Err(error) = written {
            warn(&self.path, &error);
            let _ = fs::remove_file(&part);
        }
    }
}

fn warn(path: &Path, error: &dyn std::fmt::Display) {
    log::warn!("pipeline cache {}: {error}", path.display());
}

async fn create(
    device: &wgpu::Device,
    data: Option<&[u8]>,
) -> Result<wgpu::PipelineCache, wgpu::Error> {
    let scope = device.push_error_scope(wgpu::ErrorFilter::Validation);
    // SAFETY: the data must have come from `get_data` of an adapter like this one. wgpu writes a header
    // before the driver's data and refuses what does not have it, or has it from another adapter,
    // driver version, back end or pointer size, or is not as long as it says; and only `save` writes
    // such files. That nobody else changed the contents is what the documentation of
    // `GpuBuilder::pipeline_cache` asks of the folder.
    let cache = unsafe {
        device.create_pipeline_cache(&wgpu::PipelineCacheDescriptor {
            label: Some("wgpu-cnn"),
            data,
            fallback: false,
        })
    };
    match scope.pop().await {
        None => Ok(cache),
        Some(error) => Err(error),
    }
}
