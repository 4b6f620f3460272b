//! The driver's pipeline cache in a file.

use std::fs;
use std::hash::{DefaultHasher, Hasher};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::{Error, file};

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
        let mut cache = None;
        match file::read(&path) {
            Ok(bytes) => match unsealed(&bytes) {
                Some(data) => {
                    let found = create(device, Some(data)).await;
                    cache = found.inspect_err(|error| warn(&path, error)).ok();
                }
                None => warn(&path, &"the file is damaged"),
            },
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => warn(&path, &error),
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
        let folder = self.path.parent().unwrap_or(Path::new("."));
        let made = fs::create_dir_all(folder).map_err(|error| Error::file(&self.path, error));
        if let Err(error) = made.and_then(|()| file::replace(&self.path, &sealed(data))) {
            log::warn!("pipeline cache: {error}");
        }
    }
}

/// The data, and before it a checksum.
fn sealed(data: Vec<u8>) -> Vec<u8> {
    [&checksum(&data).to_le_bytes()[..], &data].concat()
}

/// The data of a file whose checksum is right.
fn unsealed(bytes: &[u8]) -> Option<&[u8]> {
    let (sum, data) = bytes.split_first_chunk::<8>()?;
    (u64::from_le_bytes(*sum) == checksum(data)).then_some(data)
}

fn checksum(data: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new(); // with fixed keys
    hasher.write(data);
    hasher.finish()
}

fn warn(path: &Path, error: &dyn std::fmt::Display) {
    log::warn!("pipeline cache {}: {error}", path.display());
}

async fn create(
    device: &wgpu::Device,
    data: Option<&[u8]>,
) -> Result<wgpu::PipelineCache, wgpu::Error> {
    let scope = device.push_error_scope(wgpu::ErrorFilter::Validation);
    // SAFETY: the data must have come from `get_data` of an adapter like this one. Only `save` writes
    // such files, with a checksum that `open` has found to be right, so that they are what `get_data`
    // gave; and wgpu writes a header before the driver's data and refuses those of another adapter,
    // driver version, back end or pointer size. That nobody forges contents and checksum is what the
    // documentation of `GpuBuilder::pipeline_cache` asks of the folder.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_was_changed_anywhere_is_not_taken() {
        let data: Vec<u8> = (0..200).collect();
        let file = sealed(data.clone());
        assert_eq!(unsealed(&file), Some(&data[..]));
        for at in 0..file.len() {
            let mut changed = file.clone();
            changed[at] ^= 1;
            assert_eq!(unsealed(&changed), None, "{at}");
            assert_eq!(unsealed(&file[..at]), None, "{at}");
        }
    }
}
